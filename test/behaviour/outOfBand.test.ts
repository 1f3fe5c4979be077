import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { tell } from "../../provider/local/haproxyAdmin";
import { endCluster } from "../../provider/local/rayProcesses";
import { DeadlinePassed, RolledBack, type RolloutEvent, status, UpdateFailed } from "../../rollout/index";
import { replicas } from "../e2e/project";
import { lieAbout } from "../fake/lyingSocket";
import { Scenario } from "./scenario";

describe("What somebody else changes during a rollout", function () {
  this.timeout(180_000);
  let service: Scenario;
  before(async () => {
    service = new Scenario(["v1", "v2", "v3", "v4", "v5"]);
    await service.begin("v1");
  });
  after(() => service.end());

  const onceReached = (traffic: number, then: () => void) => (event: RolloutEvent) => {
    if (event.event === "reached" && event.waypoint.canaryTraffic === traffic) then();
  };
  const admin = () => join(service.project.directoryOf("load-balancer"), "admin.sock");
  const setWeights = (weights: Record<string, number>) =>
    tell(
      admin(),
      Object.entries(weights).map(([version, weight]) => `set server traffic/${version} weight ${weight}`),
    );

  it("at the load balancer's weights is seen by the next command, and put right", async () => {
    await service.deploy("v2", { canaryPercent: 25, maxSurgePercent: 50 });
    await setWeights({ v1: 10, v2: 90 });
    const { canary } = await status({ folder: service.folder });
    assert.equal(canary?.traffic, 90);
    const { outcome } = await service.deploy("v2", { canaryPercent: 25 });
    assert.equal(outcome, "held");
    const now = await status({ folder: service.folder });
    assert.deepEqual([now.primary?.traffic, now.canary?.traffic, now.canary?.capacity], [75, 25, 25]);
  });

  it("by a plain update in the middle is taken as where the rollout stands", async () => {
    await service.project.pulumi("config", "set", "canaryPercent", "50");
    const up = await service.project.pulumi("up", "--yes", "--skip-preview");
    assert.equal(up.code, 0, up.stdout + up.stderr);
    const { outcome } = await service.deploy("v2", { canaryPercent: 100 });
    assert.deepEqual([outcome, service.reached], ["completed", ["0 100 100", "100 0 0"]]);
  });

  it("at the weight of the only version changes no share, is seen, and is put right", async () => {
    await setWeights({ v2: 50 });
    assert.equal((await status({ folder: service.folder })).state, "UNHEALTHY");
    assert.equal((await service.deploy("v2")).outcome, "deployed");
    await setWeights({ v2: 40 });
    const { outcome } = await service.deploy("v3", { canaryPercent: 20, maxSurgePercent: 50 });
    assert.deepEqual([outcome, service.reached], ["held", ["80 20 20"]]);
    await service.rollback();
  });

  it("in the stack's config stops the walk where it is, and is not overwritten", async () => {
    const attempt = service.deploy("v3", {
      maxSurgePercent: 30,
      onEvent: onceReached(30, () => service.project.configure({ canaryPercent: 45 })),
    });
    await assert.rejects(attempt, (error: Error) => {
      assert.ok(error instanceof UpdateFailed);
      assert.match(error.message, /was edited while this command walked.*primary 70% capacity.*30% traffic/s);
      return true;
    });
    assert.match((await service.project.pulumi("config", "get", "canaryPercent")).stdout, /^45\s*$/);
    await service.rollback();
    assert.deepEqual([await service.answering(), service.clusters()], ["v2", ["v2"]]);
  });

  it("by deleting the canary's cluster takes the rollout back", async () => {
    const attempt = service.deploy("v4", {
      maxSurgePercent: 50,
      onEvent: onceReached(50, () => {
        const directory = service.project.directoryOf("cluster-v4");
        void endCluster(directory, 0).then(() => rmSync(directory, { recursive: true, force: true }));
      }),
    });
    await assert.rejects(attempt, (error: Error) => error instanceof RolledBack && /v4/.test(error.message));
    assert.deepEqual([await service.answering(), service.clusters()], ["v2", ["v2"]]);
    await service.assertNothingToDo();
  });

  describe("is nothing, and the load balancer lies", () => {
    let honest = async () => {};
    afterEach(() => honest());

    it("about a weight that it accepts: the step is not complete, nothing is shrunk, and the error says so", async () => {
      honest = await lieAbout("v5", admin());
      await assert.rejects(service.deploy("v5", { maxSurgePercent: 50 }), (error: Error) => {
        assert.ok(error instanceof UpdateFailed);
        assert.match(error.message, /accepted the change but does not do it: traffic\/v5 has weight 0, not 50/);
        return true;
      });
      const { primary } = await status({ folder: service.folder });
      assert.deepEqual([primary?.capacity, primary?.replicas?.running], [null, replicas]);
      assert.deepEqual([service.reached, service.clusters(), await service.answering()], [[], ["v2", "v5"], "v2"]);
    });

    it("until the deadline: the rollout is taken back", async () => {
      honest = await lieAbout("v5", admin());
      service.project.configure({ rolloutTimeoutMinutes: 0.001 });
      await assert.rejects(service.deploy("v5", { maxSurgePercent: 50 }), DeadlinePassed);
      service.project.configure({ rolloutTimeoutMinutes: undefined });
      await honest();
      honest = async () => {};
      assert.deepEqual([await service.answering(), service.clusters()], ["v2", ["v2"]]);
      await service.assertNothingToDo();
    });

    it("no more: the same command goes on", async () => {
      honest = await lieAbout("v5", admin());
      await assert.rejects(service.deploy("v5", { maxSurgePercent: 50 }), UpdateFailed);
      await honest();
      honest = async () => {};
      const { outcome } = await service.deploy("v5", { maxSurgePercent: 50 });
      assert.deepEqual([outcome, await service.answering(), service.clusters()], ["completed", "v5", ["v5"]]);
    });
  });
});
