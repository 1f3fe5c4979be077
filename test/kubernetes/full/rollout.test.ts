import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { deploy, RolledBack, type RolloutEvent, rollback, status, supervise } from "../../../rollout/index";
import { versionAnswering } from "../../e2e/project";
import { reachedIn } from "../../waypoints";
import { BUILD_MS } from "../bed/bed";
import { whyNoNode } from "../bed/full/debianPackages";
import { until } from "../bed/until";
import { FullService, mostWorkers, type Observed, REQUESTS_A_SECOND, replicas, surge } from "./service";

/**
 * Rollouts by the driver and the Pulumi engine on a real node: Ray in pods, KubeRay, Envoy Gateway and Envoy, by an account
 * that has the rights of the example and no others. Fakes: the GPUs. The tests build on each other.
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
    service = await FullService.start(["v1", "v2", "v3", "bad", "unimportable", "imageless", "headless"]);
    await service.limit();
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

  it("is reached by the gateway only, its dashboard aside, and by its own pods", async () => {
    const pods = await service.list("/api/v1", "pods");
    const [head, worker] = ["head", "worker"].map(
      (type) => pods.find(({ metadata }) => metadata.labels?.["ray.io/node-type"] === type)?.status.podIP as string,
    );
    const [dashboard, ...closed] = [`${head}:8265`, `${head}:8000`, `${head}:6379`, `${worker}:8000`];
    assert.deepEqual(await service.reachableFor({}, dashboard!, ...closed), [dashboard]);
    const own = pods[0]?.metadata.labels?.["rayshift.io/service"] ?? "";
    assert.deepEqual(await service.reachableFor({ "rayshift.io/service": own }, dashboard!, ...closed), [
      dashboard,
      ...closed,
    ]);
  });

  it("rolls out under load with no request failed, with workers that come and go, in a quota that just fits", async () => {
    assert.equal(await service.admits(mostWorkers - replicas), true);
    assert.equal(await service.admits(mostWorkers - replicas + 1), false);
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
    assert.deepEqual(await service.refusals(), []);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    assert.equal((await status({ folder: service.folder })).state, "RUNNING");
  });

  /** Deploys a version that is to be taken back, of which no request may notice. */
  const takenBack = async (what: string, file: string, ...reasons: readonly RegExp[]) => {
    const seen = await service.safely(() =>
      assert.rejects(deploy({ folder: service.folder, file, maxSurgePercent: surge }), (error) => {
        assert.ok(error instanceof RolledBack, String(error));
        for (const reason of reasons) assert.match(error.message, reason);
        return true;
      }),
    );
    report(what, seen);
    assert.deepEqual(Object.keys(seen.load.byVersion), ["v2"]);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
  };

  it("takes a version back whose replicas cannot start, in Ray's words", async () => {
    const file = service.file("bad", { environment: { FAIL: "no such model" } });
    await takenBack("a bad version", file, /no such model/);
  });

  it("takes a version back whose code cannot be imported, in Python's words", async () => {
    const file = service.file("unimportable", { importPath: "missing:app" });
    await takenBack("an import that fails", file, /ModuleNotFoundError: No module named 'missing'/);
  });

  it("takes a version back whose image cannot be had, in the kubelet's words", async () => {
    const file = service.file("imageless", { image: "missing.invalid/ray:2.60.0" });
    await takenBack(
      "an image that cannot be had",
      file,
      /pod versions-imageless-\S+: container ray-head: .*missing\.invalid\/ray:2\.60\.0/,
      /Give an image that is there/,
    );
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

  it("outlives another operator there and one more while waypoints move, and goes back", async () => {
    const back = await service.safely(async () => {
      await service.bed.restartOperator();
      const { primary, canary } = await status({ folder: service.folder });
      assert.deepEqual([primary?.traffic, canary?.traffic], [50, 50]);
      assert.deepEqual([primary?.capacity, canary?.capacity], [50, 50]);
      let another: Promise<void> | undefined;
      const onEvent = ({ event }: RolloutEvent) => {
        // The primary grows by then: KubeRay has been told, and Ray has not all of it.
        if (event === "progress") another ??= service.bed.restartOperator();
      };
      const ended = await rollback({ folder: service.folder, onEvent });
      assert.ok(another, "no operator was ended meanwhile");
      await another;
      return ended;
    });
    report("the way back", back);
    assert.equal(back.result.outcome, "rolledBack");
    assert.deepEqual(Object.keys(back.load.byVersion).sort(), ["v2", "v3"]);
    assert.deepEqual(await service.refusals(), []);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    assert.equal(await answering(), "v2");
  });

  it("is taken off a canary with 70 % of the traffic whose head is deleted, though KubeRay makes another", async () => {
    const file = service.file("headless");
    const held = await service.safely(() =>
      deploy({ folder: service.folder, file, canaryPercent: 70, maxSurgePercent: surge }),
    );
    report("70 % of it", held);
    const said: string[] = [];
    const over = new AbortController();
    const lost = await service.counted(async () => {
      const supervising = supervise({
        folder: service.folder,
        intervalSeconds: 2,
        signal: over.signal,
        onEvent: (event) => said.push("message" in event ? event.message : JSON.stringify(event)),
      });
      try {
        const [head] = await service.podsOf("headless", "head");
        assert.ok(head);
        await service.deletePod(head);
        const ended = () => said.some((message) => /was rolled back/.test(message)) || undefined;
        await until("an end of the rollout", 400, ended).catch((error) => assert.fail(`${error}: ${said.join("; ")}`));
      } finally {
        over.abort();
        await supervising;
      }
    });
    const { sent, failed, causes } = lost.load;
    process.stderr.write(
      `      a head deleted: ${lost.seconds.toFixed(0)} s, ${sent} requests, ${failed} failed ${JSON.stringify(causes)}\n`,
    );
    assert.match(said.join("\n"), /headless was rolled back: headless: /);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    // For about a minute it has 70 % of them and nothing that answers.
    assert.ok(failed <= 0.7 * 60 * REQUESTS_A_SECOND, `${failed} failed`);
    assert.equal((await status({ folder: service.folder })).primary?.replicas?.running, replicas);
    const after = await service.underLoad(() => sleep(5000));
    assert.deepEqual(Object.keys(after.load.byVersion), ["v2"]);
  });

  it("is looked after from within, by a pod's own account", async () => {
    const looked = await service.fromWithin("supervise", "--once", "--json");
    assert.equal(looked.code, 0, looked.said);
    assert.match(looked.said, /"outcome":"unchanged"/);
    const found = await service.fromWithin("status", "--json");
    assert.equal(found.code, 0, found.said);
    assert.match(found.said, /"state": ?"RUNNING"/);
  });

  it("leaves nothing when it is ended, from within as well", async () => {
    const { code, said } = await service.fromWithin("terminate");
    assert.equal(code, 0, said);
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
