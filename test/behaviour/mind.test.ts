import assert from "node:assert/strict";
import { Scenario } from "./scenario";

describe("A change of mind during a rollout", function () {
  this.timeout(180_000);
  let service: Scenario;
  before(async () => {
    service = new Scenario(["v1", "v2", "v3"]);
    await service.begin("v1");
  });
  after(() => service.end());

  it("to the primary's own version goes back to it, without a third cluster", async () => {
    await service.deploy("v2", { canaryPercent: 50, maxSurgePercent: 50 });
    assert.deepEqual(service.clusters(), ["v1", "v2"]);
    const { outcome } = await service.safely(50, () => service.deploy("v1"));
    assert.equal(outcome, "rolledBack");
    assert.deepEqual([await service.answering(), service.clusters()], ["v1", ["v1"]]);
    await service.assertNothingToDo();
  });

  it("to a new deploy right after a rollback rolls out as ever, also of the version that was taken back by hand", async () => {
    const { outcome } = await service.deploy("v2", { canaryPercent: 50, maxSurgePercent: 25 });
    assert.equal(outcome, "held");
  });

  it("to the canary's version again during its way back uses its cluster again", async () => {
    const head = service.project.headPid("v2");
    const interrupt = new AbortController();
    const back = service.rollback({
      signal: interrupt.signal,
      onEvent: (event) => event.event === "reached" && interrupt.abort(),
    });
    await assert.rejects(back, { name: "AbortError" });
    assert.deepEqual(service.reached, ["75 25 25"]);
    const { outcome } = await service.safely(25, () => service.deploy("v2", { canaryPercent: 50 }));
    assert.deepEqual([outcome, service.reached], ["held", ["50 50 50"]]);
    assert.equal(service.project.headPid("v2"), head);
  });

  it("to a third version goes back first, and then rolls that out; never are there three clusters", async () => {
    let most = 0;
    const { outcome } = await service.safely(25, () =>
      service.deploy("v3", {
        canaryPercent: 20,
        maxSurgePercent: 25,
        onEvent: ({ event }) => {
          if (event === "update" || event === "reached") most = Math.max(most, service.clusters().length);
        },
      }),
    );
    assert.equal(outcome, "held");
    assert.deepEqual(service.reached, ["75 25 25", "100 0 0", "100 0 0", "80 20 20"]);
    assert.equal(most, 2);
    assert.deepEqual(service.clusters(), ["v1", "v3"]);
  });
});
