import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { status } from "../../rollout/index";
import { Scenario } from "./scenario";

describe("A primary that is not well", function () {
  this.timeout(180_000);
  let service: Scenario;
  before(async () => {
    service = new Scenario(["v1", "v2", "v3", "v4"]);
    await service.begin("v1");
  });
  after(() => service.end());

  const kill = async (version: string) => {
    process.kill(service.project.headPid(version)!, "SIGKILL");
    while ((await status({ folder: service.folder })).primary?.replicas !== null) await sleep(200);
  };

  it("that is dead is left for a good new version in one update, under a surge, and is not started again", async () => {
    await kill("v1");
    const { outcome } = await service.deploy("v2", { maxSurgePercent: 50 });
    assert.deepEqual([outcome, service.reached], ["completed", ["0 100 100", "100 0 0"]]);
    assert.ok(service.events.some((event) => event.event === "notice" && /v1 is not well/.test(event.message)));
    assert.deepEqual([await service.answering(), service.clusters()], ["v2", ["v2"]]);
    await service.assertNothingToDo();
  });

  it("that Ray calls unhealthy is left as well, within the surge", async () => {
    const flag = join(service.folder, "break");
    await service.deploy("v3", { maxSurgePercent: 100 }, { BREAK: flag });
    writeFileSync(flag, "");
    while ((await status({ folder: service.folder })).state !== "UNHEALTHY") await sleep(200);
    const { outcome } = await service.deploy("v4", { maxSurgePercent: 50 });
    assert.deepEqual([outcome, service.reached], ["completed", ["50 50 50", "0 100 100", "100 0 0"]]);
    assert.deepEqual([await service.answering(), service.clusters()], ["v4", ["v4"]]);
    await service.assertNothingToDo();
  });

  it("gets no traffic back from a healthy canary before it is well again", async () => {
    await service.deploy("v2", { canaryPercent: 50, maxSurgePercent: 50 });
    await kill("v4");
    const { outcome } = await service.rollback();
    assert.equal(outcome, "rolledBack");
    assert.deepEqual([await service.answering(), service.clusters()], ["v4", ["v4"]]);
    await service.assertNothingToDo();
  });
});
