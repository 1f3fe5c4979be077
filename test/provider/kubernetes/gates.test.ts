import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { httpRoute } from "../../../components/kubernetes/route";
import { type ClusterInputs, kubernetesCluster } from "../../../provider/kubernetes/cluster";
import { clusterEnd } from "../../../provider/kubernetes/clusterEnd";
import { countWorkerPods } from "../../../provider/kubernetes/pods";
import { readiness } from "../../../provider/kubernetes/readiness";
import { type RoutedInputs, routed } from "../../../provider/kubernetes/routed";
import { putApplications } from "../../../provider/serve/dashboard";
import { settings } from "../../components/kubernetes/settingsForTests";
import { FakeApiServer } from "../../fake/kubernetes/apiServer";
import { config, context, type FakeRayService, rayServices, routeAddress, routePath } from "./clusterForTests";

const args = { service: "sample-service", stack: "s", settings: settings({ namespace: "models" }) };
const weighted = (version: string, weight: number) => ({ version, weight });
const PODS = "/api/v1/namespaces/models/pods";

describe("the gates of the target kubernetes", () => {
  let api: FakeApiServer;
  let v1: FakeRayService;
  let v2: FakeRayService;

  beforeEach(async () => {
    api = await FakeApiServer.start();
    [v1, v2] = rayServices(api, "v1", "v2") as [FakeRayService, FakeRayService];
  });
  afterEach(() => api.stop());

  const accepted = {
    parents: [
      {
        parentRef: { name: "shared" },
        conditions: ["Accepted", "ResolvedRefs"].map((type) => ({ type, status: "True", observedGeneration: 99 })),
      },
    ],
  };
  /** A route with these percents for v1 and v2. */
  const write = (first: number, status: object = accepted) => {
    const made = httpRoute(args, { primary: weighted("v1", first), canary: weighted("v2", 100 - first) });
    api.set(routePath, { ...made.manifest, status });
    return made.marker;
  };
  const pod = (name: string, more: object = {}, labels: object = {}) =>
    api.set(`${PODS}/${name}`, {
      metadata: {
        labels: { "rayshift.io/cluster": "sample-service-v1", "ray.io/node-type": "worker", ...labels },
      },
      ...more,
    });

  describe("a cluster", () => {
    const inputs = (changes: Partial<ClusterInputs> = {}): ClusterInputs => ({
      kubernetes: v1.address,
      uid: "u",
      route: routeAddress(api),
      version: "v1",
      timeoutSeconds: 20,
      drainTimeoutSeconds: 2,
      ...changes,
    });

    it("is there when Ray answers on its head", async () => {
      v1.head = false;
      const later = setTimeout(() => {
        v1.head = true;
      }, 800);
      const began = Date.now();
      await kubernetesCluster.create(inputs(), context());
      clearTimeout(later);
      assert.ok(Date.now() - began >= 700);
    });

    it("fails at once for an image that cannot be had, and names pod and cause", async function () {
      this.timeout(15_000);
      v1.head = false;
      const waiting = { reason: "ImagePullBackOff", message: 'Back-off pulling image "nowhere/ray:1"' };
      pod("head", { status: { phase: "Pending", containerStatuses: [{ name: "ray-head", state: { waiting } }] } });
      await assert.rejects(
        kubernetesCluster.create(inputs({ timeoutSeconds: 60 }), context()),
        /sample-service-v1\) does not start: pod head: container ray-head: ImagePullBackOff.*nowhere\/ray:1.*\. Give an image that is there.*kubectl -n models/,
      );
    });

    it("says what a pod waits for, and that at the end of its time", async function () {
      this.timeout(15_000);
      v1.head = false;
      const message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.";
      const conditions = [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message }];
      pod("head", { status: { phase: "Pending", conditions } });
      const told: string[] = [];
      await assert.rejects(
        kubernetesCluster.create(inputs({ timeoutSeconds: 4 }), context(told)),
        /does not answer within 4 s: pod head: Unschedulable: 0\/3 nodes.*gpu\. Ask for GPUs that one node has free/,
      );
      assert.match(told.join(), /Insufficient nvidia.com\/gpu/);
    });

    it("says why nobody makes a pod, a quota for example", async function () {
      this.timeout(15_000);
      v1.head = false;
      const message = 'pods "sample-service-v1-abcde-head" is forbidden: exceeded quota: small';
      const involvedObject = { kind: "RayCluster", name: "sample-service-v1-abcde" };
      api.set("/api/v1/namespaces/models/events/one", { message, involvedObject });
      await assert.rejects(
        kubernetesCluster.create(inputs({ timeoutSeconds: 4 }), context()),
        /exceeded quota: small\. Raise/,
      );
    });

    it("is not ended while it gets requests", async () => {
      await putApplications({ kubernetes: v1.address }, { ...config, target_capacity: null });
      await runs(v1);
      write(75);
      await assert.rejects(kubernetesCluster.delete("", inputs(), context()), /still sends it 75% of the traffic/);
    });

    it("gives requests their time after the weights have changed, and only then", async () => {
      await putApplications({ kubernetes: v1.address }, { ...config, target_capacity: null });
      await runs(v1);
      write(0);
      const route = api.objects.get(routePath);
      const ending = async (secondsAgo: number) => {
        const time = new Date(Date.now() - secondsAgo * 1000).toISOString();
        route.metadata.managedFields = [
          { manager: "m", operation: "Apply", time },
          { manager: "controller", operation: "Update", subresource: "status", time: new Date().toISOString() },
        ];
        const began = Date.now();
        await kubernetesCluster.delete("", inputs(), context());
        return Date.now() - began;
      };
      assert.ok((await ending(0)) >= 900);
      assert.ok((await ending(60)) < 900);
    });

    it("is ended without a wait when nothing runs on it, or it does not answer", async () => {
      write(75);
      await kubernetesCluster.delete("", inputs(), context());
      v1.head = false;
      await kubernetesCluster.delete("", inputs(), context());
    });

    it("is gone with its RayService, and another one with another uid", async () => {
      const { uid } = api.objects.get("/apis/ray.io/v1/namespaces/models/rayservices/sample-service-v1").metadata;
      const state = inputs({ uid });
      assert.equal(kubernetesCluster.diff((await kubernetesCluster.read("", state, context()))!, state).changes, false);
      assert.deepEqual(kubernetesCluster.diff(state, inputs({ uid: "another" })).replaces, ["uid"]);
      v1.remove();
      assert.equal(await kubernetesCluster.read("", state, context()), undefined);
    });
  });

  it("count worker pods until they are gone, and no head", async () => {
    pod("one", { status: { phase: "Running" } });
    pod("ending", { status: { phase: "Running" } }, {});
    api.objects.get(`${PODS}/ending`).metadata.deletionTimestamp = new Date().toISOString();
    pod("done", { status: { phase: "Succeeded" } });
    pod("head", { status: { phase: "Running" } }, { "ray.io/node-type": "head" });
    pod("other", { status: { phase: "Running" } }, { "rayshift.io/cluster": "sample-service-v2" });
    assert.equal(await countWorkerPods(v1.address), 2);
  });

  describe("the end of a cluster", () => {
    const inputs = (timeoutSeconds: number) => ({ kubernetes: v1.address, timeoutSeconds });
    const cluster = "/apis/ray.io/v1/namespaces/models/rayclusters/sample-service-v1-abcde";

    it("is waited for until KubeRay has ended it and its pods are gone, and what is left is told", async () => {
      pod("a");
      const told: string[] = [];
      let ended = false;
      const ending = clusterEnd.delete("", inputs(20), context(told)).then(() => {
        ended = true;
      });
      await sleep(700);
      api.objects.delete(cluster);
      await sleep(700);
      assert.equal(ended, false);
      api.objects.delete(`${PODS}/a`);
      await ending;
      assert.deepEqual(told, ["RayCluster sample-service-v1-abcde with 1 of its pods", "1 of its pods"]);
    });

    it("that does not come names what is left, its trouble, and how to look", async () => {
      const waiting = { reason: "CreateContainerConfigError", message: 'secret "v1" not found' };
      pod("cleanup", { status: { containerStatuses: [{ name: "ray-head", state: { waiting } }] } });
      await assert.rejects(
        clusterEnd.delete("", inputs(0.1), context()),
        /models\/sample-service-v1 is deleted.*RayCluster sample-service-v1-abcde with 1 of its pods \(pod cleanup: .*secret "v1" not found\).*kubectl -n models describe raycluster,job,pod/,
      );
    });
  });

  describe("readiness", () => {
    const inputs = (first: number) => ({
      route: routeAddress(api),
      backends: [
        { version: "v1", kubernetes: v1.address, weight: first },
        { version: "v2", kubernetes: v2.address, weight: 100 - first },
      ],
    });
    const endpoints = (version: string, ready: boolean) =>
      api.set(`/apis/discovery.k8s.io/v1/namespaces/models/endpointslices/${version}`, {
        metadata: { labels: { "kubernetes.io/service-name": `sample-service-${version}-serve-svc` } },
        endpoints: [{ conditions: { ready } }],
      });

    it("refuses more traffic for a version whose replicas do not run, and asks only those that get more", async () => {
      write(100);
      await assert.rejects(
        readiness.create(inputs(75), context()),
        /version v2 is not ready for 25 % .*no application runs/,
      );
      await readiness.create({ ...inputs(75), immediate: true }, context());
      await readiness.create(inputs(100), context());
    });

    it("waits until the version's service has an endpoint that is ready", async function () {
      this.timeout(20_000);
      write(100);
      await putApplications({ kubernetes: v2.address }, { ...config, target_capacity: null });
      await runs(v2);
      endpoints("v2", false);
      const later = setTimeout(() => endpoints("v2", true), 1000);
      const began = Date.now();
      await readiness.create(inputs(75), context());
      clearTimeout(later);
      assert.ok(Date.now() - began >= 900);
    });

    it("is asked again when weights change, and not for being told to be quick", () => {
      assert.equal(readiness.diff(inputs(75), { ...inputs(75), immediate: true }).changes, false);
      assert.equal(readiness.diff(inputs(75), inputs(50)).changes, true);
    });
  });

  describe("a route that was written", () => {
    let plane: Server;
    /** What the data plane answers by. */
    let marker: string;
    let asked: Array<Record<string, unknown>>;

    beforeEach(async () => {
      asked = [];
      plane = createServer(({ headers }, response) => {
        asked.push(headers);
        const own = headers["x-rayshift-probe"] === marker;
        response.writeHead(own ? 302 : 404, own ? { location: `http://${marker}.rayshift.invalid/` } : {});
        response.end();
      });
      await new Promise<void>((done) => plane.listen(0, "127.0.0.1", done));
      api.set("/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/shared", {
        spec: { listeners: [{ name: "http", port: (plane.address() as AddressInfo).port, protocol: "HTTP" }] },
        status: {
          addresses: [{ type: "IPAddress", value: "127.0.0.1" }],
          conditions: ["Accepted", "Programmed"].map((type) => ({ type, status: "True", observedGeneration: 99 })),
        },
      });
    });
    afterEach(() => plane.close());

    const inputs = (first: number, changes: Partial<RoutedInputs> = {}): RoutedInputs => ({
      gateway: { kubeconfig: api.kubeconfig, namespace: "models", name: "shared", podsNamespace: "envoy" },
      route: routeAddress(api),
      marker: write(first),
      backends: [weighted("v2", 100 - first), weighted("v1", first)],
      timeoutSeconds: 1,
      ...changes,
    });

    it("is in effect when the data plane answers by it, and gives the service's URL", async () => {
      const given = inputs(75, { queryAuthToken: "secret" });
      marker = given.marker;
      const { state } = await routed.create(given, context());
      assert.equal(state.url, `http://127.0.0.1:${(plane.address() as AddressInfo).port}`);
      assert.equal(asked[0]?.["x-rayshift-authorization"], "Bearer secret");
    });

    it("is not while the data plane answers by the one before, and no cluster is shrunk on its word", async () => {
      marker = inputs(100).marker;
      await assert.rejects(
        routed.create(inputs(75), context()),
        /HTTPRoute models\/sample-service was written but is not in effect after 1 s: the data plane does not answer .*No cluster/,
      );
    });

    it("is waited for until it is", async () => {
      const given = inputs(75, { timeoutSeconds: 10 });
      setTimeout(() => {
        marker = given.marker;
      }, 500);
      const told: string[] = [];
      await routed.create(given, context(told));
      assert.match(told.join(), /does not answer by the new route/);
    });

    it("is not when somebody wrote other weights", async () => {
      const given = inputs(75);
      marker = write(50);
      await assert.rejects(routed.create(given, context()), /somebody changed its weights, they are v1 50, v2 50/);
    });

    it("is not when its gateway is not in effect, in the controller's words", async () => {
      const path = "/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/shared";
      const gateway = api.objects.get(path);
      gateway.status.conditions[1] = {
        ...gateway.status.conditions[1],
        status: "False",
        reason: "NoResources",
        message: "no pods",
      };
      await assert.rejects(routed.create(inputs(75), context()), /Gateway shared: NoResources: no pods/);
    });

    it("is asked of every pod of the data plane where these are in the cluster", async () => {
      const given = inputs(75);
      const { port } = plane.address() as AddressInfo;
      api.set("/api/v1/namespaces/envoy/services/envoy-shared", {
        metadata: {
          labels: {
            "gateway.envoyproxy.io/owning-gateway-name": "shared",
            "gateway.envoyproxy.io/owning-gateway-namespace": "models",
          },
        },
        spec: { ports: [{ name: "http", port }] },
      });
      api.objects.get("/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/shared").metadata.namespace =
        "models";
      const endpoint = (name: string) => ({ targetRef: { kind: "Pod", name }, conditions: { ready: true } });
      api.set("/apis/discovery.k8s.io/v1/namespaces/envoy/endpointslices/one", {
        metadata: { labels: { "kubernetes.io/service-name": "envoy-shared" } },
        ports: [{ name: "http", port: 10080 }],
        endpoints: [endpoint("a"), endpoint("b")],
      });
      const late = new Set(["b:10080"]);
      const pods: string[] = [];
      api.forward = (_path, to, { headers }) => {
        pods.push(to);
        const own = headers["x-rayshift-probe"] === given.marker && !late.has(to);
        return own
          ? { status: 302, body: "", headers: { location: `http://${given.marker}.rayshift.invalid/` } }
          : { status: 404, body: "" };
      };
      await assert.rejects(routed.create(given, context()), /at pod b: it answers 404/);
      late.clear();
      await routed.create(given, context());
      assert.ok(pods.includes("a:10080"));
      assert.equal(asked.length, 0);
    });

    it("is looked at anew when the route holds other weights than the stack", async () => {
      const given = inputs(75);
      marker = given.marker;
      const { state } = await routed.create(given, context());
      assert.equal(routed.diff((await routed.read("", state, context()))!, given).changes, false);
      write(50);
      assert.equal(routed.diff((await routed.read("", state, context()))!, given).changes, true);
    });
  });
});

/** Until the fake's replica runs. */
async function runs({ serve }: FakeRayService): Promise<void> {
  for (let waited = 0; waited < 100; waited++) {
    const { applications } = serve.details() as { applications: Record<string, { status: string }> };
    if (applications.default?.status === "RUNNING") return;
    await new Promise((later) => setTimeout(later, 50));
  }
  throw new Error("no replica runs");
}
