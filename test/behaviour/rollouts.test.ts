import assert from "node:assert/strict";
import { type ServiceStatus, status, wait } from "../../rollout/index";
import { Scenario } from "./scenario";

describe("A rollout", function () {
  this.timeout(180_000);
  let service: Scenario;
  before(() => {
    service = new Scenario(["v1", "v2", "v3", "v4"]);
  });
  after(() => service.end());

  it("comes after a first deploy, whose service is STARTING until it ends", async () => {
    const starting = wait({ folder: service.folder, state: "STARTING", timeoutSeconds: 60 });
    await service.begin("v1");
    assert.match((await starting).problems.join(), /first update has not ended/);
    assert.equal((await status({ folder: service.folder })).state, "RUNNING");
  });

  it("goes by the ladder without a surge, both clusters whole, and ends with the new version alone", async () => {
    const { outcome } = await service.safely(100, () => service.deploy("v2"));
    assert.equal(outcome, "completed");
    const ladder = [0, 5, 10, 20, 30, 50, 75, 100].map((traffic) => `100 100 ${traffic}`);
    assert.deepEqual(service.reached, [...ladder, "100 0 0"]);
    assert.deepEqual([await service.answering(), service.clusters()], ["v2", ["v2"]]);
  });

  it("of what runs already does nothing", async () => {
    const { outcome } = await service.deploy("v2", { canaryPercent: 10, maxSurgePercent: 50 });
    assert.deepEqual([outcome, service.reached], ["unchanged", []]);
    await service.assertNothingToDo();
  });

  it("is held at 0% with a healthy canary that only its header reaches", async () => {
    let during: Promise<ServiceStatus> | undefined;
    const { outcome } = await service.deploy("v3", {
      canaryPercent: 0,
      maxSurgePercent: 50,
      onEvent: ({ event }) => {
        if (event === "update") during ??= status({ folder: service.folder });
      },
    });
    const { state, primary, canary } = (await during)!;
    assert.deepEqual([state, primary?.version, canary?.version, canary?.traffic], ["ROLLING_OUT", "v2", "v3", null]);
    assert.equal(outcome, "held");
    assert.deepEqual(service.reached, ["100 1 0"]);
    const by = (value: string) => service.answering({ "X-ANYSCALE-VERSION": value });
    assert.deepEqual(await Promise.all(["canary", "primary", "Canary", "v3"].map(by)), ["v3", "v2", "v2", "v2"]);
  });

  it("moves the split up and down by the canary percent of the next command, within the surge", async () => {
    const split = async (canaryPercent: number) => {
      const { outcome } = await service.safely(50, () => service.deploy("v3", { canaryPercent }));
      const { primary, canary } = await status({ folder: service.folder });
      return [outcome, primary?.capacity ?? 100, canary?.capacity, canary?.traffic];
    };
    assert.deepEqual(await split(60), ["held", 40, 60, 60]);
    assert.deepEqual(await split(25), ["held", 75, 25, 25]);
  });

  it("takes another surge in the middle, and completes at 100", async () => {
    const { outcome } = await service.safely(100, () =>
      service.deploy("v3", { canaryPercent: 100, maxSurgePercent: 100 }),
    );
    assert.deepEqual([outcome, service.reached], ["completed", ["0 100 100", "100 0 0"]]);
    assert.deepEqual([await service.answering(), service.clusters()], ["v3", ["v3"]]);
    await service.assertNothingToDo();
  });
});
