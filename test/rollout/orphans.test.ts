import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { processesNamed, processesWithArgument } from "../../provider/local/process";
import { claimedBy, endHelpers, isOrphan } from "../../rollout/orphans";

describe("isOrphan", () => {
  let children: ChildProcess[] = [];
  afterEach(async () => {
    for (const child of children) await end(child);
    children = [];
  });

  function start(environment: Record<string, string> = {}): ChildProcess & { pid: number } {
    const child = spawn("sleep", ["60"], { env: { PATH: process.env.PATH, ...environment }, stdio: "ignore" });
    children.push(child);
    return child as ChildProcess & { pid: number };
  }

  async function end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  it("is true of an update whose driver ended, from then on", async () => {
    const driver = start();
    const update = start(claimedBy(driver.pid));
    assert.equal(isOrphan(update.pid), false);
    await end(driver);
    assert.equal(isOrphan(update.pid), true);
  });

  it("is false of an update of a driver that runs", () => {
    assert.equal(isOrphan(start(claimedBy(process.pid)).pid), false);
  });

  it("is true where the driver's pid was given to another process", () => {
    const [[name, value] = ["", ""]] = Object.entries(claimedBy(process.pid));
    const other = JSON.stringify({ ...JSON.parse(value), startTime: "1@boot" });
    assert.equal(isOrphan(start({ [name]: other }).pid), true);
  });

  it("is false of a process that is not marked, or not as a driver does, or not there", async () => {
    const [name = ""] = Object.keys(claimedBy(process.pid));
    assert.equal(isOrphan(start().pid), false);
    assert.equal(isOrphan(start({ [name]: "1" }).pid), false);
    assert.equal(isOrphan(start({ [name]: "none" }).pid), false);
    const gone = start(claimedBy(2 ** 22));
    await end(gone);
    assert.equal(isOrphan(gone.pid), false);
    assert.deepEqual(claimedBy(gone.pid), {});
  });
});

for (const helper of ["pulumi-language-nodejs", "pulumi-resource-kubernetes"])
  describe(`endHelpers: ${helper}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "rayshift-hosts-"));
    const host = join(folder, helper);
    const engine = join(folder, "pulumi");
    const started: ChildProcess[] = [];
    before(() => {
      // Only the names matter: one that does nothing, and one that starts it and waits.
      copyFileSync(realpathSync("/bin/sleep"), host);
      copyFileSync(realpathSync("/bin/sh"), engine);
    });
    afterEach(() => {
      for (const { pid } of processesWithArgument(marker)) process.kill(pid, "SIGKILL");
      for (const child of started.splice(0)) child.kill("SIGKILL");
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    /** An argument that only these processes have. */
    const marker = `60.0${process.pid}`;

    async function start(command: string, args: string[], environment: Record<string, string>): Promise<ChildProcess> {
      const child = spawn(command, args, { env: { PATH: process.env.PATH, ...environment }, stdio: "ignore" });
      started.push(child);
      while (processesNamed(helper).length === 0) await sleep(10);
      return child;
    }

    const left = () => processesWithArgument(marker).length;
    const settled = async (count: number) => {
      for (let tries = 0; left() !== count && tries < 200; tries++) await sleep(10);
      assert.equal(left(), count);
    };

    it("ends one whose engine was killed, and not before", async () => {
      const killed = await start(engine, ["-c", `'${host}' ${marker} & wait`], claimedBy(process.pid));
      await settled(1);
      endHelpers();
      await sleep(100);
      assert.equal(left(), 1);
      killed.kill("SIGKILL");
      await once(killed, "exit");
      endHelpers();
      await settled(0);
    });

    it("leaves those alone that no driver started", async () => {
      await start(host, [marker], {});
      await settled(1);
      endHelpers();
      await sleep(100);
      assert.equal(left(), 1);
    });
  });
