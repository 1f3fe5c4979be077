import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { kubernetesTarget } from "../../../components/kubernetes";
import type { Placement } from "../../../components/placement";
import type { RolloutRecord } from "../../../components/record";
import { type Addresses, Service } from "../../../components/service";
import type { TargetSettings } from "../../../components/target";
import { placing, recordAfter, rollingOut, running, v1, v2, version } from "../builders";
import { assertAccepted, doneBefore, named, type Registered, registering, resolved } from "../mockedEngine";
import { settings } from "./settingsForTests";

const times: TargetSettings = {
  service: "sample-service",
  startupTimeoutSeconds: 600,
  drainTimeoutSeconds: 60,
  idleTimeoutSeconds: 30,
  secret: false,
};

const addressOf = (cluster: string) => ({
  kubernetes: { context: "test", namespace: "models", rayService: `sample-service-${cluster}` },
  serveAddress: `sample-service-${cluster}-serve-svc.models.svc:8000`,
});

const recorded: Addresses = {
  clusters: { v1: addressOf("v1"), v2: addressOf("v2") },
  loadBalancer: {},
};

const own = { context: "test", namespace: "models", gateway: { className: "eg" } };

async function declared(placement: Placement, addresses: Addresses | undefined = recorded, changes: object = {}) {
  const { resources, result } = await registering(
    {},
    () =>
      new Service("sample-service", {
        target: kubernetesTarget(times, settings({ ...own, ...changes })),
        placement,
        recorded: addresses,
      }),
  );
  assertAccepted(resources);
  return { resources, result };
}

const first = placing({}, v1, undefined);

const RAY_SERVICE = "kubernetes:ray.io/v1:RayService";

describe("the target kubernetes", () => {
  it("makes of a first deploy a RayService, its applications, a route and the token, named after the version", async () => {
    const { resources } = await declared(first, undefined);
    const made = resources.filter(({ type }) => /^(kubernetes|rayserve):/.test(type)).map(({ name }) => name);
    assert.deepEqual(made.sort(), [
      "applications-v1",
      "cluster-v1",
      "end-v1",
      "gateway",
      "head-budget-v1",
      "load-balancer",
      "network-policy",
      "no-canary",
      "query-token",
      "query-token-secret",
      "rayservice-v1",
      "readiness",
      "route",
      "security-policy",
    ]);
    for (const { name, type } of resources) assert.doesNotMatch(`${type} ${name}`, /primary|-canary-/);
  });

  it("makes every object through the provider that has the kubeconfig and context of the settings", async () => {
    const { resources } = await declared(first, undefined, { kubeconfig: "/home/user/.kube/config" });
    const provider = named(resources, "kubernetes", "pulumi:providers:kubernetes");
    assert.equal(provider.inputs.kubeconfig, "/home/user/.kube/config");
    assert.equal(provider.inputs.context, "test");
    assert.equal(provider.inputs.enableServerSideApply, "true");
    // Without it the plugin would make everything anew for a kubeconfig with another address.
    assert.equal(provider.inputs.clusterIdentifier, "rayshift");
  });

  it("finds Ray through the API server and gives no address or token of Ray away", async () => {
    const { resources, result } = await declared(first, undefined);
    const { inputs } = named(resources, "applications-v1");
    assert.deepEqual(inputs.kubernetes, addressOf("v1").kubernetes);
    assert.equal("dashboardUrl" in inputs, false);
    assert.deepEqual((await resolved(result.addresses)).value, {
      clusters: { v1: addressOf("v1") },
      loadBalancer: {
        httpRoute: { context: "test", namespace: "models", name: "sample-service", service: "sample-service" },
      },
    });
    assert.equal((await resolved(result.url)).value, "http://10.0.0.1");
  });

  it("says of a cluster whose head keeps its state in Redis that it outlives the head", async () => {
    const { result } = await declared(first, undefined, { redis: { address: "redis:6379" } });
    const { value } = await resolved(result.addresses);
    assert.deepEqual(value?.clusters.v1, { ...addressOf("v1"), outlivesHead: true });
  });

  it("keeps the query token a secret in the Secret and in the probe, and names it nowhere else", async () => {
    const { resources, result } = await declared(first, undefined);
    const { value } = await resolved(result.queryAuthToken!);
    const encoded = Buffer.from(value).toString("base64");
    for (const { name, type, inputs, secrets } of resources) {
      const open = Object.entries(inputs).filter(([key]) => !secrets.includes(key));
      const text = JSON.stringify(open);
      assert.ok(!text.includes(value) && !text.includes(encoded), `${type} ${name}`);
    }
    assert.ok(named(resources, "load-balancer", "rayserve:kubernetes:Routed").secrets.includes("queryAuthToken"));
    const open = version("v1", { query_auth_token_enabled: false });
    const without = await declared(placing({}, open, undefined), undefined);
    assert.ok(!without.resources.some(({ name }) => name === "security-policy" || name === "query-token-secret"));
  });

  it("has what stays as long as the service owned by one manager, whichever update made it", async () => {
    const { resources } = await declared(first, undefined);
    for (const name of ["gateway", "network-policy", "no-canary", "query-token-secret", "security-policy", "route"]) {
      const { annotations } = named(resources, name).inputs.metadata as { annotations: Record<string, string> };
      assert.equal(annotations["pulumi.com/patchFieldManager"], "rayshift", name);
    }
  });

  it("does not bind the stack to the kubeconfig that the environment names", async () => {
    const before = process.env.KUBECONFIG;
    process.env.KUBECONFIG = "/somewhere/config";
    try {
      const { resources } = await declared(first, undefined, { kubeconfig: undefined });
      assert.equal(JSON.stringify(resources).includes("/somewhere"), false);
      assert.equal(process.env.KUBECONFIG, "/somewhere/config");
    } finally {
      if (before === undefined) delete process.env.KUBECONFIG;
      else process.env.KUBECONFIG = before;
    }
  });

  it("waits for a cluster's end after its RayService is deleted, with what KubeRay needs for that still there", async () => {
    const { resources } = await declared(first, undefined);
    const { inputs } = named(resources, "end-v1");
    assert.deepEqual(
      inputs.kubernetes,
      named(resources, "cluster-v1", "rayserve:kubernetes:Cluster").inputs.kubernetes,
    );
    assert.ok(doneBefore(resources, "rayservice-v1").has("end-v1"));
    const { annotations } = named(resources, "rayservice-v1").inputs.metadata as { annotations: object };
    assert.deepEqual(annotations, { "pulumi.com/deletionPropagationPolicy": "background" });
  });

  it("asks for the token in the pods where the gateway cannot, with what they mount there until they are gone", async () => {
    const { resources } = await declared(first, undefined, { gateway: { implementation: "other" } });
    assert.ok(!resources.some(({ name }) => ["security-policy", "no-canary", "query-token-secret"].includes(name)));
    const { inputs } = named(resources, "ingress-v1");
    assert.match((inputs.data as Record<string, string>)["rayshift_ingress.py"]!, /^def middlewares\(\):$/m);
    const secret = named(resources, "ingress-token-v1");
    assert.deepEqual(secret.secrets, ["data"]);
    const { spec } = named(resources, "rayservice-v1").inputs;
    const text = JSON.stringify(spec);
    for (const object of [inputs, secret.inputs]) {
      assert.ok(text.includes(`"${(object.metadata as { name: string }).name}"`), "the pods mount it");
    }
    for (const name of ["ingress-v1", "ingress-token-v1"]) assert.ok(doneBefore(resources, "end-v1").has(name));
    assert.ok(doneBefore(resources, "rayservice-v1").has("end-v1"));
  });

  describe("order inside an update", () => {
    it("forward: the canary's applications, their proof, the route, its proof, the primary's applications", async () => {
      const { resources } = await declared(placing({ canaryPercent: 50 }, v2, rollingOut([100, 100, 10])));
      assert.ok(doneBefore(resources, "applications-v2").has("rayservice-v2"));
      assert.ok(doneBefore(resources, "readiness").has("applications-v2"));
      assert.ok(named(resources, "route").dependencies.includes("readiness"));
      assert.ok(named(resources, "load-balancer", "rayserve:kubernetes:Routed").dependencies.includes("route"));
      assert.ok(doneBefore(resources, "applications-v1").has("load-balancer"));
      assert.ok(!doneBefore(resources, "readiness").has("applications-v1"));
    });

    it("back: the primary's applications first, the canary's last", async () => {
      const { resources } = await declared(placing({ canaryPercent: 10 }, v2, rollingOut([50, 50, 50], 50)));
      assert.ok(doneBefore(resources, "readiness").has("applications-v1"));
      assert.ok(doneBefore(resources, "applications-v2").has("load-balancer"));
      assert.ok(!doneBefore(resources, "applications-v1").has("route"));
    });

    it("at once: the route waits for no applications, and its proof is told so", async () => {
      const placement: Placement = { ...placing({}, v1, rollingOut([25, 75, 75])), order: "concurrent" };
      const { resources } = await declared(placement);
      assert.equal(named(resources, "readiness").inputs.immediate, true);
      assert.ok(![...doneBefore(resources, "readiness")].some((name) => name.startsWith("applications")));
    });

    it("closes the route to strangers before it is there", async () => {
      const { resources } = await declared(first, undefined);
      const before = named(resources, "route").dependencies;
      for (const name of ["security-policy", "network-policy", "gateway"]) assert.ok(before.includes(name), name);
      assert.ok(named(resources, "security-policy").dependencies.includes("query-token-secret"));
    });

    it("lets the requests of a cluster end before its RayService does, and the applications with it", async () => {
      const { resources } = await declared(placing({ canaryPercent: 50 }, v2, running));
      for (const cluster of ["v1", "v2"]) {
        const gate = named(resources, `cluster-${cluster}`, "rayserve:kubernetes:Cluster");
        const budget = named(resources, `head-budget-${cluster}`).inputs.metadata as { ownerReferences: object[] };
        assert.deepEqual(budget.ownerReferences, [
          { apiVersion: "ray.io/v1", kind: "RayService", name: `sample-service-${cluster}`, uid: "" },
        ]);
        assert.ok(gate.dependencies.includes(`rayservice-${cluster}`));
        assert.equal(gate.inputs.version, cluster);
        assert.equal(named(resources, `applications-${cluster}`).deletedWith, `cluster-${cluster}`);
      }
    });
  });

  it("guards growth by the other RayService, and shrinking by the route", async () => {
    const { resources } = await declared(placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, running));
    const canary = named(resources, "applications-v2").inputs;
    assert.deepEqual(canary.surge, { peer: addressOf("v1"), maxTotalCapacity: 125, idleTimeoutSeconds: 30 });
    const { traffic } = named(resources, "applications-v1").inputs as { traffic: object };
    assert.deepEqual(traffic, {
      httpRoute: { context: "test", namespace: "models", name: "sample-service", service: "sample-service" },
      version: "v1",
      drainTimeoutSeconds: 60,
    });
  });

  it("runs a proxy on every node unless the version says otherwise, and passes a remote working directory on", async () => {
    const configOf = async (changes: Record<string, unknown>) => {
      const { resources } = await declared(placing({}, version("v1", changes), undefined), undefined);
      return named(resources, "applications-v1").inputs.config as {
        proxy_location: string;
        http_options: { host: string; port: number };
        applications: Array<{ runtime_env: { working_dir?: string } }>;
      };
    };
    const plain = await configOf({});
    assert.equal(plain.proxy_location, "EveryNode");
    assert.deepEqual([plain.http_options.host, plain.http_options.port], ["0.0.0.0", 8000]);
    const chosen = await configOf({ proxy_location: "HeadOnly", working_dir: "s3://bucket/code.zip" });
    assert.equal(chosen.proxy_location, "HeadOnly");
    assert.equal(chosen.applications[0]?.runtime_env.working_dir, "s3://bucket/code.zip");
  });

  /** What the engine would do about an object when one update follows another. */
  const changesBetween = (before: readonly Registered[], after: readonly Registered[]) => {
    // Each mocked stack has a token of its own.
    const objects = (resources: readonly Registered[]) =>
      resources.filter(({ type }) => type.startsWith("kubernetes:") && !type.endsWith(":Secret"));
    const key = ({ type, name }: Registered) => `${type} ${name}`;
    const was = new Map(objects(before).map((each) => [key(each), each.inputs]));
    const is = new Map(objects(after).map((each) => [key(each), each.inputs]));
    return {
      made: [...is.keys()].filter((name) => !was.has(name)),
      ended: [...was.keys()].filter((name) => !is.has(name)),
      changed: [...is]
        .filter(([name, inputs]) => was.has(name) && !isDeepStrictEqual(was.get(name), inputs))
        .map(([name]) => name),
    };
  };

  describe("over a whole rollout under a surge", () => {
    const clusterObjects = (cluster: string) =>
      [
        `${RAY_SERVICE} rayservice-${cluster}`,
        `kubernetes:policy/v1:PodDisruptionBudget head-budget-${cluster}`,
      ].sort();
    const ROUTE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute route";
    const waypoint = (
      primaryCapacity: number,
      canaryCapacity: number,
      canaryTraffic: number,
      direction = "forward",
    ) => ({
      waypoint: {
        ...{ primary: "v1", canary: "v2", primaryCapacity, canaryCapacity, canaryTraffic, surge: 40 },
        direction: direction as "forward" | "back",
        startedAt: "2026-01-31T12:00:00.000Z",
      },
    });

    it("makes the canary's objects once, changes nothing but the route at each waypoint, and ends the primary's at last", async () => {
      let record: RolloutRecord = recordAfter(first);
      let { resources } = await declared(first, undefined);
      const seen: object[] = [];
      for (const at of [waypoint(60, 40, 40), waypoint(20, 80, 80), waypoint(0, 100, 100), {}]) {
        const placement = placing(at, v2, record);
        const { resources: next } = await declared(placement);
        seen.push(changesBetween(resources, next));
        record = recordAfter(placement);
        resources = next;
      }
      const moved = { made: [], ended: [], changed: [ROUTE] };
      const sorted = (change: { made: string[]; ended: string[]; changed: string[] }) => ({
        ...change,
        made: change.made.sort(),
        ended: change.ended.sort(),
      });
      assert.deepEqual(
        seen.map((each) => sorted(each as never)),
        [{ ...moved, made: clusterObjects("v2") }, moved, moved, { ...moved, ended: clusterObjects("v1") }],
      );
    });

    it("leaves after a rollback what was there before the rollout", async () => {
      const before = await declared(first, undefined);
      const forward = recordAfter(placing(waypoint(60, 40, 40), v2, recordAfter(first)));
      const back = recordAfter(placing(waypoint(100, 40, 0, "back"), v1, forward));
      const after = await declared(placing({}, v1, back));
      assert.deepEqual(changesBetween(before.resources, after.resources), { made: [], ended: [], changed: [] });
    });
  });
});
