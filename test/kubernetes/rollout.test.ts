import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse, parseAllDocuments } from "yaml";
import { deploy, RolledBack, type RolloutEvent, rollback, status, terminate } from "../../rollout/index";
import { FakeGateway, fakeClass } from "../fake/kubernetes/gateway";
import { type Manifest, Objects } from "../fake/kubernetes/objects";
import { root } from "../setup/support";
import type { KubernetesObject } from "./bed/api";
import { type Bed, BUILD_MS, startBed } from "./bed/bed";
import { until } from "./bed/until";
import { KubernetesProject } from "./project";

const replicas = 4;
const surge = 50;
/** What 100 + surge take: a worker with a GPU for each replica, and two heads. */
const mostGpus = (replicas * (100 + surge)) / 100;

/**
 * Rollouts through the driver and the Pulumi engine on a real API server, with the real KubeRay operator, by an account
 * that has the rights of the example and no others. Fakes: nodes, what runs in the pods, the gateway, and the plugin of
 * @pulumi/kubernetes. The tests build on each other.
 */
describe("a service on Kubernetes", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let bed: Bed;
  let namespace: string;
  let gateway: FakeGateway;
  let project: KubernetesProject;

  before(async () => {
    bed = await startBed("kwok");
    for (const name of ["gpu-0", "gpu-1"]) await bed.addNode({ name, cpus: 16, gpus: replicas });
    namespace = await bed.namespace();
    const gatewayPods = await bed.namespace();
    const kubeconfig = await accountOfExample(gatewayPods);
    gateway = await FakeGateway.start({ kubeconfig: bed.kubeconfig }, namespace);
    project = new KubernetesProject(
      {
        kubeconfig,
        context: bed.context,
        namespace,
        gateway: { name: "edge", className: fakeClass, port: gateway.port, podsNamespace: gatewayPods },
      },
      { idleTimeoutSeconds: 1, drainTimeoutSeconds: 2, startupTimeoutSeconds: 300 },
    );
    // One pod or GPU more is refused by the API server.
    await bed.api.create(`/api/v1/namespaces/${namespace}/resourcequotas`, {
      metadata: { name: "fits" },
      spec: { hard: { pods: String(mostGpus + 2), "requests.nvidia.com/gpu": String(mostGpus) } },
    });
  });
  after(async () => {
    await project?.rayshift("terminate");
    project?.removeFolder();
    await gateway?.stop();
    await bed?.stop();
  });

  /** An account with the rights of examples/kubernetes/access.yaml and no others. */
  const accountOfExample = async (gatewayPods: string) => {
    const text = readFileSync(join(root, "examples", "kubernetes", "access.yaml"), "utf8")
      .replaceAll("namespace: models", `namespace: ${namespace}`)
      .replaceAll("namespace: envoy-gateway-system", `namespace: ${gatewayPods}`);
    const objects = new Objects({ kubeconfig: bed.kubeconfig }, namespace);
    for (const document of parseAllDocuments(text)) await objects.apply("example", document.toJS() as Manifest);
    return bed.kubeconfigFor(namespace, "rayshift");
  };
  const list = async (path: string) => (await bed.api.get<{ items: KubernetesObject[] }>(path)).items;
  const rayServices = async () =>
    (await list(`/apis/ray.io/v1/namespaces/${namespace}/rayservices`)).map(({ metadata }) => metadata.name).sort();
  const pods = () => list(`/api/v1/namespaces/${namespace}/pods`);
  const refusals = async () => {
    const events = await list(`/api/v1/namespaces/${namespace}/events`);
    return events.map(({ message }) => String(message)).filter((message) => message.includes("exceeded quota"));
  };

  /** Asks the gateway until told to stop; every answer by version, and what was no answer. */
  const load = async (headers: Record<string, string>) => {
    const answers: Record<string, number> = {};
    let ended = false;
    const asking = (async () => {
      while (!ended) {
        const answer = await fetch(`http://127.0.0.1:${gateway.port}/`, { headers })
          .then(async (response) =>
            response.ok ? ((await response.json()) as { version: string }).version : `${response.status}`,
          )
          .catch((error: Error) => error.message);
        answers[answer] = (answers[answer] ?? 0) + 1;
        await sleep(200);
      }
    })();
    return async () => {
      ended = true;
      await asking;
      return answers;
    };
  };
  const token = async () => JSON.parse((await project.pulumi("stack", "output", "--json", "--show-secrets")).stdout);
  const headersOf = async () => ({ authorization: `Bearer ${(await token()).queryAuthToken}` });

  it("is not deployed where the cluster lacks something, and all of it is said before anything changes", async () => {
    const elsewhere = new KubernetesProject({
      kubeconfig: bed.kubeconfig,
      namespace: "nowhere",
      gateway: { name: "none" },
    });
    const refused = await elsewhere.rayshift("deploy", "-f", elsewhere.serviceFile("v1"));
    elsewhere.removeFolder();
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /kubernetes\.namespace: "nowhere" does not exist; make it: kubectl create namespace/);
    assert.match(refused.stderr, /kubernetes\.gateway\.name: "none" is no Gateway/);
    Object.assign(process.env, project.environment);
  });

  it("can be planned without a cluster", async () => {
    const elsewhere = new KubernetesProject({ kubeconfig: join(project.folder, "none"), gateway: { name: "none" } });
    elsewhere.configure({ service: parse(readFileSync(elsewhere.serviceFile("v1"), "utf8")) });
    await elsewhere.pulumi("stack", "init");
    const preview = await elsewhere.pulumi("preview");
    elsewhere.removeFolder();
    Object.assign(process.env, project.environment);
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
    assert.match(preview.stdout, /RayService +rayservice-v1 +create/);
  });

  it("gets a RayService and a route, and answers those who have the token", async () => {
    const { outcome, url } = await deploy({ folder: project.folder, file: project.serviceFile("v1") });
    assert.deepEqual([outcome, url], ["deployed", `http://127.0.0.1:${gateway.port}`]);
    assert.deepEqual(await rayServices(), ["versions-v1"]);
    const answer = await fetch(url, { headers: await headersOf() });
    assert.deepEqual(await answer.json(), { version: "v1" });
    assert.equal((await fetch(url)).status, 401);
    const asked = { ...(await headersOf()), "x-anyscale-version": "canary" };
    assert.equal((await fetch(url, { headers: asked })).status, 404);
  });

  it("has nothing to do when it is deployed again, by the driver and by a plain preview", async () => {
    assert.equal((await deploy({ folder: project.folder, file: project.serviceFile("v1") })).outcome, "unchanged");
    const preview = await project.pulumi("preview", "--expect-no-changes");
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
  });

  it("rolls out within a quota of pods and GPUs that just fits the surge, with no request failed", async () => {
    const events: RolloutEvent[] = [];
    const stop = await load(await headersOf());
    const { outcome } = await deploy({
      folder: project.folder,
      file: project.serviceFile("v2"),
      maxSurgePercent: surge,
      onEvent: (event) => events.push(event),
    });
    const answers = await stop();
    assert.equal(outcome, "completed");
    assert.deepEqual(Object.keys(answers).sort(), ["v1", "v2"], JSON.stringify(answers));
    const reached = events.flatMap((event) => (event.event === "reached" ? [event.waypoint] : []));
    assert.deepEqual(
      reached.map(({ primaryCapacity, canaryCapacity, canaryTraffic }) => [
        primaryCapacity,
        canaryCapacity,
        canaryTraffic,
      ]),
      [
        [50, 50, 50],
        [0, 100, 100],
        [100, 0, 0],
      ],
    );
    assert.deepEqual(await refusals(), []);
    assert.deepEqual(await rayServices(), ["versions-v2"]);
    const left = (await pods()).filter(({ metadata }) => metadata.labels?.["rayshift.io/cluster"] !== "versions-v2");
    assert.deepEqual(
      left.map(({ metadata }) => metadata.name),
      [],
    );
    assert.equal((await status({ folder: project.folder })).state, "RUNNING");
  });

  it("is held at a split, and goes back to what it was", async () => {
    const held = await deploy({
      folder: project.folder,
      file: project.serviceFile("v3"),
      canaryPercent: 25,
      maxSurgePercent: surge,
    });
    assert.equal(held.outcome, "held");
    const headers = await headersOf();
    const asked = { ...headers, "x-anyscale-version": "canary" };
    const answer = await fetch(held.url, { headers: asked });
    assert.deepEqual(await answer.json(), { version: "v3" });
    const now = await status({ folder: project.folder });
    assert.deepEqual([now.primary?.traffic, now.canary?.traffic], [75, 25]);
    // A new operator has sent nothing yet, and a new head has nothing: both get the capacity with the applications.
    await bed.restartOperator();
    const [head] = (await pods()).filter(({ metadata }) => {
      return (
        metadata.labels?.["rayshift.io/cluster"] === "versions-v3" && metadata.labels["ray.io/node-type"] === "head"
      );
    });
    await bed.api.delete(`/api/v1/namespaces/${namespace}/pods/${head?.metadata.name}`);
    await until("the canary as it was, on a new head", 120, async () => {
      const heads = (await pods()).filter(({ metadata }) => metadata.labels?.["ray.io/node-type"] === "head");
      if (heads.some(({ metadata }) => metadata.uid === head?.metadata.uid)) return undefined;
      const { canary } = await status({ folder: project.folder });
      return (canary?.capacity === 25 && canary.replicas?.running === 1) || undefined;
    });
    assert.equal((await rollback({ folder: project.folder })).outcome, "rolledBack");
    assert.deepEqual(await rayServices(), ["versions-v2"]);
    assert.deepEqual(await refusals(), []);
  });

  it("takes a version back whose replicas cannot start, in Ray's words", async () => {
    const file = project.serviceFile("broken", { environment: { FAIL: "no such model" } });
    const stop = await load(await headersOf());
    await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge }), (error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /no such model/);
      return true;
    });
    assert.deepEqual(Object.keys(await stop()), ["v2"]);
    assert.deepEqual(await rayServices(), ["versions-v2"]);
  });

  it("takes a version back whose image cannot be had, and names it", async () => {
    const file = project.serviceFile("imageless", { image: "missing.invalid/ray:0" });
    await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge }), (error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /ImagePullBackOff.*missing\.invalid\/ray:0/);
      return true;
    });
    assert.deepEqual(await rayServices(), ["versions-v2"]);
  });

  it("takes a version back whose pods a quota refuses, and says so", async () => {
    const path = `/api/v1/namespaces/${namespace}/resourcequotas/fits`;
    const setGpus = (count: number) => {
      return bed.api.patch(path, [
        { op: "replace", path: "/spec/hard/requests.nvidia.com~1gpu", value: String(count) },
      ]);
    };
    await setGpus(replicas);
    project.configure({ startupTimeoutSeconds: 20 });
    const file = project.serviceFile("v4");
    await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge }), (error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /Kubernetes says: .*exceeded quota: fits.*requests.nvidia.com\/gpu/s);
      return true;
    });
    assert.deepEqual(await rayServices(), ["versions-v2"]);
    await setGpus(mostGpus);
    project.configure({ startupTimeoutSeconds: 300 });
  });

  it("goes back from a rollout whose driver and engine were killed, and leaves no RayService of it", async () => {
    const file = project.serviceFile("v5");
    const driver = project.startRayshift("deploy", "-f", file, "--max-surge-percent", String(surge));
    await until("the canary's RayService", 60, async () => (await rayServices()).includes("versions-v5") || undefined);
    driver.kill("SIGKILL");
    for (const pid of project.engines()) process.kill(pid, "SIGKILL");
    await until("the engine's end", 60, async () => project.engines().length === 0 || undefined);
    assert.equal((await rollback({ folder: project.folder })).outcome, "rolledBack");
    assert.deepEqual(await rayServices(), ["versions-v2"]);
    assert.equal((await status({ folder: project.folder })).state, "RUNNING");
  });

  it("rolls out from where a killed driver and engine left it", async () => {
    const file = project.serviceFile("v6");
    const driver = project.startRayshift("deploy", "-f", file, "--max-surge-percent", String(surge));
    const weights = () => bed.api.get(`/apis/gateway.networking.k8s.io/v1/namespaces/${namespace}/httproutes/versions`);
    await until("traffic of the canary", 120, async () => {
      return JSON.stringify((await weights()).spec).includes("versions-v6-serve-svc") || undefined;
    });
    driver.kill("SIGKILL");
    for (const pid of project.engines()) process.kill(pid, "SIGKILL");
    await until("the engine's end", 60, async () => project.engines().length === 0 || undefined);
    const stop = await load(await headersOf());
    assert.equal((await deploy({ folder: project.folder, file, maxSurgePercent: surge })).outcome, "completed");
    const answers = Object.keys(await stop());
    assert.ok(
      answers.every((answer) => ["v2", "v6"].includes(answer)),
      answers.join(),
    );
    assert.deepEqual(await rayServices(), ["versions-v6"]);
  });

  it("finds that somebody changed the route, and puts it right", async () => {
    const path = `/apis/gateway.networking.k8s.io/v1/namespaces/${namespace}/httproutes/versions`;
    await bed.api.patch(path, [{ op: "replace", path: "/spec/rules/2/backendRefs/0/weight", value: 7 }]);
    const found = await status({ folder: project.folder });
    assert.match(found.problems.join(), /somebody changed the load balancer's weights/);
    await deploy({ folder: project.folder, file: project.serviceFile("v6") });
    assert.equal((await status({ folder: project.folder })).state, "RUNNING");
  });

  it("leaves nothing when it is ended", async () => {
    await terminate({ folder: project.folder });
    assert.deepEqual(await rayServices(), []);
    assert.deepEqual(
      (await pods()).map(({ metadata }) => metadata.name),
      [],
    );
    for (const kind of ["networkpolicies", "poddisruptionbudgets"]) {
      const group = kind === "networkpolicies" ? "networking.k8s.io" : "policy";
      assert.deepEqual(await list(`/apis/${group}/v1/namespaces/${namespace}/${kind}`), [], kind);
    }
    const secrets = await list(`/api/v1/namespaces/${namespace}/secrets`);
    assert.deepEqual(
      secrets.filter(({ metadata }) => metadata.name.startsWith("versions")),
      [],
    );
  });
});
