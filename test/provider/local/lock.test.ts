import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withLock } from "../../../provider/local/lock";
import { identify } from "../../../provider/local/process";

const never = new AbortController().signal;

describe("the lock of a directory", () => {
  let root: string;
  let directory: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "lock-"));
    directory = join(root, "deep", "balancer");
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const leaveLock = (pid: number, startTime: string) => {
    writeFileSync(
      `${directory}.lock`,
      JSON.stringify({ pid, startTime, owner: "an update", since: "2026-01-01T00:00:00.000Z", id: "other" }),
    );
  };

  it("lets one operation in at a time", async () => {
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 5 }, (_, n) =>
        withLock(
          directory,
          `operation ${n}`,
          async () => {
            most = Math.max(most, ++inside);
            await sleep(20);
            inside--;
          },
          never,
        ),
      ),
    );
    assert.equal(most, 1);
  });

  it("gives the result back and leaves nothing behind, also after an error", async () => {
    assert.equal(await withLock(directory, "a", async () => 7, never), 7);
    await assert.rejects(
      withLock(directory, "a", async () => Promise.reject(new Error("broken")), never),
      /broken/,
    );
    assert.deepEqual(readdirSync(join(root, "deep")), []);
  });

  it("takes over from a holder that was killed, and only one of many waiting does", async () => {
    await withLock(directory, "a", async () => undefined, never);
    const child = spawn("sleep", ["60"]);
    const identity = identify(child.pid!)!;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    leaveLock(identity.pid, identity.startTime);
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 8 }, () =>
        withLock(
          directory,
          "a",
          async () => {
            most = Math.max(most, ++inside);
            await sleep(5);
            inside--;
          },
          never,
        ),
      ),
    );
    assert.equal(most, 1);
  });

  it("tells whether its last holder was killed", async () => {
    const takenOver = () => withLock(directory, "a", async (_held, killed) => killed, never);
    assert.equal(await takenOver(), false);
    leaveLock(process.pid, "1@an earlier boot");
    assert.deepEqual([await takenOver(), await takenOver()], [true, false]);
  });

  it("is not fooled by a pid that another process got since", async () => {
    await withLock(directory, "a", async () => undefined, never);
    leaveLock(process.pid, "1@an earlier boot");
    assert.equal(await withLock(directory, "a", async () => "in", never, 1000), "in");
  });

  it("names the living holder when it waited in vain, and does not disturb it", async () => {
    await withLock(
      directory,
      "the update of shop",
      async () => {
        await assert.rejects(
          withLock(directory, "b", async () => assert.fail("two are inside"), never, 250),
          new RegExp(`in use by the update of shop \\(pid ${process.pid}, since 2.*end that process`),
        );
        assert.ok(existsSync(`${directory}.lock`));
      },
      never,
    );
  });

  it("tells its holder when it was taken away", async () => {
    await withLock(
      directory,
      "a",
      async (held) => {
        assert.equal(held(), true);
        rmSync(`${directory}.lock`);
        assert.equal(held(), false);
        leaveLock(process.pid, "another");
        assert.equal(held(), false);
      },
      never,
    );
    assert.ok(existsSync(`${directory}.lock`), "what another holds is left alone");
  });

  it("stops waiting when the operation is cancelled", async () => {
    await withLock(
      directory,
      "a",
      () =>
        assert.rejects(
          withLock(directory, "b", async () => undefined, AbortSignal.timeout(50)),
          /abort/i,
        ),
      never,
    );
  });
});
