import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StackLocked, UpdateFailed } from "../../rollout/errors";
import { driving, isDeployed, openSession } from "../../rollout/session";

const config = "config:\n  rayshift:target: local # here\n";

describe("A session", () => {
  const home = process.env.RAYSHIFT_HOME;
  let folder: string;
  let file: string;
  beforeEach(() => {
    delete process.env.RAYSHIFT_HOME;
    folder = mkdtempSync(join(tmpdir(), "rayshift-session-"));
    file = join(folder, "Pulumi.dev.yaml");
    writeFileSync(join(folder, "Pulumi.yaml"), "name: rayshift\nruntime: nodejs\n");
    writeFileSync(file, config);
  });
  afterEach(() => {
    if (home !== undefined) process.env.RAYSHIFT_HOME = home;
    rmSync(folder, { recursive: true });
  });

  const locks = () => readdirSync(join(folder, ".rayshift", "run"));

  it("that only reads takes no lock and writes nothing", async () => {
    const { project, config } = await openSession({ folder, stack: "prod" });
    assert.deepEqual([project.folder, project.stack, config.read()], [folder, "prod", {}]);
    assert.equal(existsSync(join(folder, ".rayshift")), false);
  });

  it("that drives is the only one on its stack: the next is told which one is, and does nothing", async () => {
    let driven = false;
    let release = () => {};
    const until = new Promise<void>((resolve) => (release = resolve));
    let begun = () => {};
    const inside = new Promise<void>((resolve) => (begun = resolve));
    const first = driving("deploy", { folder }, async () => {
      begun();
      await until;
      return "done";
    });
    await inside;
    const second = driving("rollback", { folder }, async () => {
      driven = true;
    });
    await assert.rejects(second, (error) => {
      assert.ok(error instanceof StackLocked);
      const named = /^rayshift deploy \(pid (\d+), since ([\d:.TZ-]+)\) works on stack dev\. Wait/.exec(error.message);
      assert.equal(Number(named?.[1]), process.pid, error.message);
      assert.ok(Date.now() - Date.parse(named![2]!) < 60_000, error.message);
      return true;
    });
    assert.equal(driven, false);
    assert.equal(await driving("deploy", { folder, stack: "prod" }, async () => "another stack"), "another stack");
    release();
    assert.equal(await first, "done");
    assert.equal(await driving("rollback", { folder }, async () => "next"), "next");
  });

  it("gives its stack free however it ends", async () => {
    const failure = new UpdateFailed("no GPU");
    await assert.rejects(
      driving("deploy", { folder }, () => Promise.reject(failure)),
      failure,
    );
    assert.deepEqual(locks(), []);
  });

  it("does not begin when it is interrupted before", async () => {
    const drive = () => assert.fail("it began");
    await assert.rejects(driving("deploy", { folder, signal: AbortSignal.abort() }, drive), { name: "AbortError" });
  });

  it("leaves the config as it was when another update's lock kept it from changing anything", async () => {
    const drive = driving("deploy", { folder }, async (session) => {
      session.config.edit({ canaryPercent: 10 });
      throw new StackLocked("somebody else");
    });
    await assert.rejects(drive, /somebody else/);
    assert.equal(readFileSync(file, "utf8"), config);
  });

  it("that lost its lock to somebody stops before its next effect, and leaves their config alone", async () => {
    const drive = driving("deploy", { folder }, async (session) => {
      session.assertDriving();
      const [lock] = locks();
      rmSync(join(folder, ".rayshift", "run", lock!));
      writeFileSync(file, "config:\n  rayshift:target: local # theirs\n");
      session.assertDriving();
    });
    await assert.rejects(drive, (error) => {
      assert.ok(error instanceof StackLocked);
      assert.match(error.message, /lock on stack dev is gone.*`rayshift status`.*`rayshift deploy` goes on/);
      return true;
    });
    assert.match(readFileSync(file, "utf8"), /# theirs/);
  });

  it("that only reads cannot change the stack", async () => {
    assert.throws((await openSession({ folder })).assertDriving, /only reads/);
  });

  it("keeps the config of what it began, and of what failed for another reason", async () => {
    for (const [changed, error] of [
      [true, new StackLocked("somebody else")],
      [false, new UpdateFailed("no GPU")],
    ] as const) {
      writeFileSync(file, config);
      const drive = driving("deploy", { folder }, async (session) => {
        session.config.edit({ canaryPercent: 10 });
        session.changed = changed;
        throw error;
      });
      await assert.rejects(drive, error);
      assert.match(readFileSync(file, "utf8"), /canaryPercent: 10/);
    }
  });
});

describe("isDeployed", () => {
  it("is true only of a stack with a record and addresses", () => {
    assert.equal(isDeployed(undefined), false);
    assert.equal(isDeployed({ rollout: undefined, targets: undefined }), false);
    assert.equal(isDeployed({ rollout: undefined, targets: { clusters: {}, loadBalancer: {} } }), false);
  });
});
