import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { claimedBy, isOrphan } from "../../rollout/orphans";

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
