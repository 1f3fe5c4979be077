import assert from "node:assert/strict";
import type { KubernetesObject } from "./api";
import { type Bed, BUILD_MS, startBed } from "./bed";
import { rayService } from "./objects";
import { until } from "./until";

const SECONDS = 60;

describe("Kubernetes test bed: KubeRay on fake nodes", function () {
  this.timeout(BUILD_MS);
  let bed: Bed;
  let namespace: string;
  before(async () => {
    bed = await startBed("kwok");
    for (const name of ["gpu-0", "gpu-1"]) await bed.addNode({ name, cpus: 16, gpus: 4, labels: { pool: "gpu" } });
    namespace = await bed.namespace();
  });
  after(() => bed?.stop());

  const services = () => `/apis/ray.io/v1/namespaces/${namespace}/rayservices`;
  const apply = (name: string, object: KubernetesObject) => bed.api.apply(`${services()}/${name}`, object);
  const pods = async (selector = "") => {
    const query = encodeURIComponent(selector);
    const list = await bed.api.get<{ items: KubernetesObject[] }>(
      `/api/v1/namespaces/${namespace}/pods?labelSelector=${query}`,
    );
    return list.items;
  };
  const workers = async (name: string) => {
    const { status } = await bed.api.get(`${services()}/${name}`);
    const cluster = status.activeServiceStatus?.rayClusterName ?? status.pendingServiceStatus?.rayClusterName;
    return await pods(`ray.io/node-type=worker,ray.io/cluster=${cluster}`);
  };
  const runningWorkers = async (name: string) =>
    (await workers(name)).filter(({ status }) => status.phase === "Running").length;
  const isReady = async (name: string) => {
    const { status } = await bed.api.get(`${services()}/${name}`);
    const conditions = (status?.conditions ?? []) as Array<{ type: string; status: string }>;
    return conditions.some((each) => each.type === "Ready" && each.status === "True") || undefined;
  };
  /** Ray's answer through the API server. */
  const applications = (name: string) =>
    bed.api.get<{ target_capacity: number | null; applications: Record<string, KubernetesObject> }>(
      `/api/v1/namespaces/${namespace}/services/${name}-head-svc:dashboard/proxy/api/serve/applications/`,
    );
  const runningReplicas = async (name: string) => {
    const { applications: all } = await applications(name);
    const replicas = (all.default?.deployments?.Versions?.replicas ?? []) as Array<{ state: string }>;
    return replicas.filter(({ state }) => state === "RUNNING").length;
  };

  it("runs two services at once, each with a worker for each replica", async () => {
    await apply("primary", rayService("primary", 4));
    await apply("canary", rayService("canary", 2));
    for (const [name, replicas] of [
      ["primary", 4],
      ["canary", 2],
    ] as const) {
      await until(`${name}, ready`, SECONDS, () => isReady(name));
      await until(`${replicas} replicas`, SECONDS, async () => (await runningReplicas(name)) === replicas || undefined);
      assert.equal(await runningWorkers(name), replicas);
    }
    const nodes = new Set((await pods("ray.io/node-type=worker")).map(({ spec }) => spec.nodeName));
    assert.deepEqual([...nodes].sort(), ["gpu-0", "gpu-1"], "GPUs are on these alone");
  });

  it("answers users at the addresses of a service's endpoints", async () => {
    const proxy = `/api/v1/namespaces/${namespace}/services/canary-serve-svc:8000/proxy/`;
    const answer = await until("endpoints", SECONDS, () => bed.api.get<{ version: string }>(proxy));
    assert.equal(answer.version, "canary");
  });

  it("shrinks a service's workers with its target_capacity, and the giving pods end", async () => {
    const shrunk = rayService("primary", 4);
    shrunk.spec.serveConfigV2 = JSON.stringify({ target_capacity: 50, ...JSON.parse(shrunk.spec.serveConfigV2) });
    await apply("primary", shrunk);
    await until("two workers", SECONDS, async () => (await workers("primary")).length === 2 || undefined);
    assert.equal((await applications("primary")).target_capacity, 50);
    await until("two replicas", SECONDS, async () => (await runningReplicas("primary")) === 2 || undefined);
  });

  it("keeps a replica waiting that no GPU is left for", async () => {
    await apply("canary", rayService("canary", 7));
    await until("six workers", SECONDS, async () => (await runningReplicas("canary")) === 6 || undefined);
    const pending = (await workers("canary")).filter(({ status }) => status.phase === "Pending");
    assert.equal(pending.length, 1);
    const condition = pending[0]?.status.conditions.find(({ type }: { type: string }) => type === "PodScheduled");
    assert.match(condition.message, /Insufficient nvidia\.com\/gpu/);
    await apply("canary", rayService("canary", 2));
    await until("two workers", SECONDS, async () => (await workers("canary")).length <= 3 || undefined);
  });

  it("replaces a worker that is deleted, with the replica on it", async () => {
    const [worker] = await workers("primary");
    await bed.api.delete(`/api/v1/namespaces/${namespace}/pods/${worker?.metadata.name}`);
    await until("the loss", SECONDS, async () => (await runningReplicas("primary")) < 2 || undefined);
    await until("another", SECONDS, async () => (await runningReplicas("primary")) === 2 || undefined);
  });

  it("sends a new head what the old one had, after the operator was replaced too", async () => {
    const [head] = await pods(`ray.io/node-type=head,ray.io/serve=true`);
    assert.ok(head);
    await bed.restartOperator();
    const cluster = head.metadata.labels?.["ray.io/cluster"] ?? "";
    const name = cluster.slice(0, cluster.indexOf("-"));
    await bed.api.delete(`/api/v1/namespaces/${namespace}/pods/${head.metadata.name}`);
    await until("the loss", SECONDS, async () => (await runningReplicas(name)) === 0 || undefined);
    await until("two replicas", SECONDS, async () => (await runningReplicas(name)) === 2 || undefined);
  });

  it("says what a kubelet says of an image that is in no registry", async () => {
    const service = rayService("imageless", 1);
    service.spec.rayClusterConfig.headGroupSpec.template.spec.containers[0].image = "missing.invalid/ray:0";
    await apply("imageless", service);
    const reason = await until("the head's state", SECONDS, async () => {
      const all = await pods("ray.io/node-type=head");
      const waiting = all.map(({ status }) => status.containerStatuses?.[0]?.state?.waiting);
      return waiting.find((each) => each !== undefined);
    });
    assert.equal(reason.reason, "ImagePullBackOff");
  });

  it("ends every pod of a service that is deleted", async () => {
    for (const name of ["primary", "canary", "imageless"]) await bed.api.delete(`${services()}/${name}`);
    await until("no pods", SECONDS, async () => (await pods()).length === 0 || undefined);
  });
});
