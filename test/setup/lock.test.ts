import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { importSetup, temporaryFolder } from "./support";

interface Lock {
  lockSetup(home: string, waiting: (owner: string) => void): Promise<() => void>;
}

describe("setup: lock", () => {
  const folder = temporaryFolder();
  let module: Lock;
  before(async () => {
    module = await importSetup<Lock>("lock.mjs");
  });

  it("lets a second set-up wait for the first and says for whom", async () => {
    const events: string[] = [];
    const first = await module.lockSetup(folder(), () => events.push("the first waits"));
    const second = module.lockSetup(folder(), (owner) => {
      events.push(`waits for ${owner}`);
      events.push("first is done");
      first();
    });
    const release = await second;
    assert.deepEqual(events, [`waits for ${process.pid}`, "first is done"]);
    release();
    assert.equal(existsSync(join(folder(), "setup.lock")), false);
  });

  it("takes over the lock of a set-up that was killed, and of a process whose number was given out again", async () => {
    const ended = spawnSync(process.execPath, ["-e", ""]).pid;
    for (const owner of [`${ended} 123`, `${process.pid} 1`]) {
      writeFileSync(join(folder(), "setup.lock"), owner);
      (await module.lockSetup(folder(), () => assert.fail("it waits for nobody")))();
    }
  });
});
