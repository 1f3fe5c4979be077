import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DeadlinePassed, RolledBack, type RolloutEvent, status, UpdateFailed } from "../../rollout/index";
import { Scenario } from "./scenario";

describe("A rollback", function () {
  this.timeout(180_000);
  let service: Scenario;
  before(async () => {
    service = new Scenario(["v1", "v2", "v3", "v4", "v5"]);
    service.project.writeConfig({ idleTimeoutSeconds: 1, drainTimeoutSeconds: 20, startupTimeoutSeconds: 15 });
    await service.begin("v1");
  });
  after(() => service.end());

  const onceReached = (traffic: number, then: () => void) => (event: RolloutEvent) => {
    if (event.event === "reached" && event.waypoint.canaryTraffic === traffic) then();
  };

  async function assertAsBefore(): Promise<void> {
    assert.deepEqual([await service.answering(), service.clusters()], ["v1", ["v1"]]);
    assert.equal((await status({ folder: service.folder })).state, "RUNNING");
    await service.assertNothingToDo();
  }

  it("comes by itself when a constructor raises, says so in Ray's words, and ends as it began", async () => {
    const attempt = service.safely(100, () => service.deploy("v2", {}, { FAIL: "the weights are missing" }));
    await assert.rejects(attempt, (error: Error) => {
      assert.ok(error instanceof RolledBack);
      assert.equal(error.exitCode, 3);
      assert.match(error.message, /v2 was rolled back.*the weights are missing/s);
      return true;
    });
    await assertAsBefore();
  });

  it("makes the version a rejected one, which is not tried again before it is changed", async () => {
    const refused = /v2 was rolled back at .*the weights are missing.*`rayshift deploy --retry`/s;
    await assert.rejects(service.deploy("v2", {}, { FAIL: "the weights are missing" }), refused);
    await assert.rejects(service.deploy("v2", { canaryPercent: 10 }, { FAIL: "the weights are missing" }), refused);
    assert.deepEqual(service.reached, []);
    await assertAsBefore();
  });

  it("comes when replicas never fit the worker groups", async () => {
    const value = service.project.service("v3");
    value.compute_config = { worker_nodes: [{ name: "cpu", resources: { CPU: 1 }, min_nodes: 0, max_nodes: 4 }] };
    const attempt = service.safely(50, () => service.deploy("v3", { service: value, maxSurgePercent: 50 }));
    await assert.rejects(attempt, (error: Error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /not converged within 15 s.*GPU/s);
      return true;
    });
    await assertAsBefore();
  });

  it("comes when the canary's head dies in the middle", async () => {
    const attempt = service.deploy("v4", {
      maxSurgePercent: 50,
      onEvent: onceReached(50, () => process.kill(service.project.headPid("v4")!, "SIGKILL")),
    });
    await assert.rejects(attempt, (error: Error) => error instanceof RolledBack && /v4/.test(error.message));
    await assertAsBefore();
  });

  it("goes by waypoints when a held canary's next step finds it unhealthy", async () => {
    const flag = join(service.folder, "break");
    await service.deploy("v5", { canaryPercent: 50, maxSurgePercent: 25 }, { BREAK: flag });
    writeFileSync(flag, "");
    const attempt = service.deploy("v5", { canaryPercent: 60, maxSurgePercent: 25 }, { BREAK: flag });
    await assert.rejects(attempt, (error: Error) => error instanceof RolledBack && /health/.test(error.message));
    assert.deepEqual(service.reached, ["75 25 25", "100 0 0", "100 0 0"]);
    await assertAsBefore();
  });

  it("is tried again when --retry says so, and a version that is good after all is forgotten as a rejected one", async () => {
    const flag = join(service.folder, "break");
    const { rmSync } = await import("node:fs");
    rmSync(flag);
    const again = await service.deploy("v5", { canaryPercent: 5, retry: true }, { BREAK: flag });
    assert.equal(again.outcome, "held");
  });

  it("by hand honours the surge, which can be another one in the middle, and ends as the rollout began", async () => {
    await service.deploy("v5", { canaryPercent: 60, maxSurgePercent: 50 }, { BREAK: join(service.folder, "break") });
    const interrupt = new AbortController();
    const first = service.safely(50, () =>
      service.rollback({
        maxSurgePercent: 20,
        signal: interrupt.signal,
        onEvent: onceReached(40, () => interrupt.abort()),
      }),
    );
    await assert.rejects(first, { name: "AbortError" });
    assert.equal((await status({ folder: service.folder })).state, "ROLLING_BACK");
    const { outcome } = await service.safely(50, () => service.rollback({ maxSurgePercent: 40 }));
    assert.deepEqual([outcome, service.reached], ["rolledBack", ["100 0 0", "100 0 0"]]);
    await assertAsBefore();
  });

  it("comes at the deadline, and says that it did", async () => {
    await service.deploy("v2", { canaryPercent: 20 });
    service.project.configure({ rolloutTimeoutMinutes: 0.001 });
    await assert.rejects(service.deploy("v2", { canaryPercent: 30 }), (error: Error) => {
      assert.ok(error instanceof DeadlinePassed);
      assert.equal(error.exitCode, 4);
      assert.match(error.message, /v2 was rolled back: not complete at its deadline/);
      return true;
    });
    service.project.configure({ rolloutTimeoutMinutes: undefined });
    await assertAsBefore();
  });

  it("does not come where autoRollback is off: the rollout is held, and the output says so", async () => {
    service.project.configure({ autoRollback: false });
    const flag = join(service.folder, "break");
    const attempt = service.deploy(
      "v4",
      { maxSurgePercent: 50, onEvent: onceReached(50, () => writeFileSync(flag, "")) },
      { BREAK: flag },
    );
    await assert.rejects(attempt, (error: Error) => {
      assert.ok(error instanceof UpdateFailed);
      assert.match(error.message, /autoRollback is off, so the rollout is held where it is.*`rayshift rollback`/s);
      return true;
    });
    const { state, canary } = await status({ folder: service.folder });
    assert.deepEqual([state, canary?.version], ["UNHEALTHY", "v4"]);
    service.project.configure({ autoRollback: undefined });
    await service.rollback();
    await assertAsBefore();
  });
});
