import assert from "node:assert/strict";
import { deploy, RolledBack, type RolloutEvent, rollback, status, terminate } from "../../../rollout/index";
import { versionAnswering } from "../../e2e/project";
import { reachedIn } from "../../waypoints";
import { BUILD_MS } from "../bed/bed";
import { whyNoNode } from "../bed/full/debianPackages";
import { until } from "../bed/until";
import { FullService, mostWorkers, type Observed, replicas, surge } from "./service";

/**
 * Rollouts by the driver and the Pulumi engine on a real node: Ray in pods, KubeRay, Envoy Gateway and Envoy, by an account
 * that has the rights of the example and no others. Fakes: the GPUs, and the plugin of @pulumi/kubernetes. Nobody enforces
 * the NetworkPolicy. The tests build on each other.
 */
describe("a service on a node of Kubernetes", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let service: FullService;

  before(async function () {
    const why = whyNoNode();
    if (why !== undefined) {
      process.stderr.write(`${why}\n`);
      this.skip();
    }
    service = await FullService.start(["v1", "v2", "v3", "bad"]);
  });
  after(() => service?.stop());

  const answering = async (headers: Record<string, string> = {}) => versionAnswering(await service.reach(), headers);
  const asked = (role: string) => ({ "x-anyscale-version": role });
  const report = (what: string, { seconds, watch, load, streams }: Observed<unknown>) =>
    process.stderr.write(
      `      ${what}: ${seconds.toFixed(0)} s, ${load.sent} requests, ${load.failed} failed, ${streams.sent} streams, at most ${watch.peakWorkers} ` +
        `workers and ${watch.peakCapacity}% capacity, ${watch.weighed} looks at the weights\n`,
    );

  it("gets clusters whose workers come from nothing, and answers those who have the token", async () => {
    const { outcome } = await deploy({ folder: service.folder, file: service.file("v1") });
    assert.equal(outcome, "deployed");
    assert.deepEqual(await service.rayServices(), ["versions-v1"]);
    assert.equal(await answering(), "v1");
    assert.equal(await answering(asked("primary")), "v1");
    assert.equal(await answering(asked("canary")), "404");
    const { url } = await service.reach();
    assert.equal(await versionAnswering({ url, token: undefined }), "401");
    assert.equal(await versionAnswering({ url, token: "another" }), "401");
  });

  it("rolls out under load with no request failed, and with workers that come and go", async () => {
    const events: RolloutEvent[] = [];
    const seen = await service.safely(() =>
      deploy({
        folder: service.folder,
        file: service.file("v2"),
        maxSurgePercent: surge,
        onEvent: (event) => events.push(event),
      }),
    );
    report("rollout", seen);
    assert.equal(seen.result.outcome, "completed");
    assert.deepEqual(reachedIn(events), ["50 50 50", "0 100 100", "100 0 0"]);
    assert.deepEqual(Object.keys(seen.load.byVersion).sort(), ["v1", "v2"]);
    assert.ok(seen.watch.peakWorkers <= mostWorkers);
    const { v1 = [], v2 = [] } = seen.workersOf;
    assert.deepEqual([v1[0], v1.at(-1)], [replicas, 0], `workers of v1: ${v1}`);
    assert.deepEqual([v2[0], v2.at(-1)], [0, replicas], `workers of v2: ${v2}`);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    assert.equal((await status({ folder: service.folder })).state, "RUNNING");
  });

  it("takes a version back whose replicas cannot start, in Ray's words, and no request notices", async () => {
    const file = service.file("bad", { FAIL: "no such model" });
    const seen = await service.safely(() =>
      assert.rejects(deploy({ folder: service.folder, file, maxSurgePercent: surge }), (error) => {
        assert.ok(error instanceof RolledBack, String(error));
        assert.match(error.message, /no such model/);
        return true;
      }),
    );
    report("a bad version", seen);
    assert.deepEqual(Object.keys(seen.load.byVersion), ["v2"]);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
  });

  it("is held at a split, where the watch would see weights that the capacity does not carry", async () => {
    const held = await service.safely(() =>
      deploy({ folder: service.folder, file: service.file("v3"), canaryPercent: 50, maxSurgePercent: surge }),
    );
    report("half of it", held);
    assert.equal(held.result.outcome, "held");
    assert.equal(await answering(asked("canary")), "v3");
    assert.equal(await answering(asked("primary")), "v2");
    const { watch } = service.watch();
    await service.weigh([90, 10]);
    await until("a broken invariant", 60, () => watch.violations.length > 0 || undefined);
    await service.weigh([50, 50]);
    assert.match((await watch.stop()).violations[0]!, /I1: v2 gets 90% with 1 replicas, 2 are needed/);
  });

  it("outlives another operator there, and goes back", async () => {
    const back = await service.safely(async () => {
      await service.bed.restartOperator();
      const { primary, canary } = await status({ folder: service.folder });
      assert.deepEqual([primary?.traffic, canary?.traffic], [50, 50]);
      assert.deepEqual([primary?.capacity, canary?.capacity], [50, 50]);
      return rollback({ folder: service.folder });
    });
    report("the way back", back);
    assert.equal(back.result.outcome, "rolledBack");
    assert.deepEqual(Object.keys(back.load.byVersion).sort(), ["v2", "v3"]);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    assert.equal(await answering(), "v2");
  });

  it("leaves nothing when it is ended", async () => {
    await terminate({ folder: service.folder });
    assert.deepEqual(await service.rayServices(), []);
    assert.deepEqual(await service.names("/api/v1", "pods"), []);
    assert.deepEqual(await service.names("/apis/gateway.networking.k8s.io/v1", "httproutes"), []);
    assert.deepEqual(await service.names("/apis/gateway.networking.k8s.io/v1", "gateways"), []);
    for (const [group, plural] of [
      ["/apis/networking.k8s.io/v1", "networkpolicies"],
      ["/apis/policy/v1", "poddisruptionbudgets"],
      ["/apis/gateway.envoyproxy.io/v1alpha1", "securitypolicies"],
    ] as const) {
      assert.deepEqual(await service.names(group, plural), [], plural);
    }
    const secrets = await service.names("/api/v1", "secrets");
    assert.deepEqual(
      secrets.filter((name) => name.startsWith("versions")),
      [],
    );
  });
});
