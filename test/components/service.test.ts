import assert from "node:assert/strict";
import { localTarget } from "../../components/local";
import type { Placement } from "../../components/placement";
import type { RolloutRecord } from "../../components/record";
import { type Addresses, Service } from "../../components/service";
import type { TargetSettings } from "../../components/target";
import { placing, rollingOut, running, v1, v2, version } from "./builders";
import {
  addressOf,
  assertAccepted,
  customNames,
  doneBefore,
  named,
  registering,
  resolved,
  useTools,
} from "./mockedEngine";

const settings: TargetSettings = {
  service: "sample-service",
  startupTimeoutSeconds: 600,
  drainTimeoutSeconds: 60,
  idleTimeoutSeconds: 30,
  secret: false,
};

const recorded: Addresses = {
  clusters: { v1: addressOf("cluster-v1"), v2: addressOf("cluster-v2") },
  loadBalancer: { adminSocket: "/run/load-balancer/admin.sock" },
};

describe("Service", () => {
  useTools();

  const declared = (placement: Placement, addresses: Addresses | undefined = recorded) =>
    registering(
      {},
      () => new Service("sample-service", { target: localTarget(settings), placement, recorded: addresses }),
    );

  const inputsOf = async (placement: Placement, name: string) =>
    named((await declared(placement)).resources, name).inputs;

  describe("of a first deploy", () => {
    const first = placing({}, v1, undefined);

    it("is a cluster, its applications, the load balancer and the token, named after the version and no role", async () => {
      const { resources } = await declared(first, undefined);
      assert.deepEqual(customNames(resources), ["applications-v1", "cluster-v1", "load-balancer", "query-token"]);
      assertAccepted(resources);
    });

    it("runs without a bound on its capacity and without guards", async () => {
      const { resources } = await declared(first, undefined);
      const { inputs } = named(resources, "applications-v1");
      assert.deepEqual(
        ["capacity", "surge", "traffic"].filter((key) => key in inputs),
        [],
      );
      assert.equal(inputs.canary, false);
    });

    it("sends all requests to it once its replicas run", async () => {
      const { resources } = await declared(first, undefined);
      const { inputs } = balancerOf(resources);
      assert.deepEqual(inputs.backends, [backend("v1", 100)]);
      assert.deepEqual([inputs.primary, inputs.canary], ["v1", undefined]);
      assert.ok(doneBefore(resources, "load-balancer").has("applications-v1"));
    });
  });

  describe("during a rollout", () => {
    const split = placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, running);

    it("has both versions' clusters and applications, accepted by the provider", async () => {
      const { resources } = await declared(split);
      assert.deepEqual(customNames(resources), [
        "applications-v1",
        "applications-v2",
        "cluster-v1",
        "cluster-v2",
        "load-balancer",
        "query-token",
      ]);
      assertAccepted(resources);
    });

    it("names no resource after a role", async () => {
      const { resources } = await declared(split);
      for (const { name, type } of resources) assert.doesNotMatch(`${type} ${name}`, /primary|canary/);
    });

    it("gives each side its capacity and its part of the traffic", async () => {
      const { resources } = await declared(split);
      assert.equal(named(resources, "applications-v1").inputs.capacity, 75);
      assert.equal(named(resources, "applications-v2").inputs.capacity, 25);
      assert.deepEqual(balancerOf(resources).inputs.backends, [backend("v1", 75), backend("v2", 25)]);
      assert.deepEqual([balancerOf(resources).inputs.primary, balancerOf(resources).inputs.canary], ["v1", "v2"]);
    });

    it("counts initial replicas as the canary's floor, and not as the primary's", async () => {
      assert.equal((await inputsOf(split, "applications-v2")).canary, true);
      assert.equal((await inputsOf(split, "applications-v1")).canary, false);
    });

    it("sends a canary without traffic a capacity and a weight of 0, not nothing", async () => {
      const { resources } = await declared(placing({ canaryPercent: 0 }, v2, running));
      assert.equal(named(resources, "applications-v2").inputs.capacity, 100);
      assert.deepEqual(balancerOf(resources).inputs.backends, [backend("v1", 100), backend("v2", 0)]);
      const shrunk = { ...split, canary: { ...split.canary!, capacity: 0, traffic: 0 } };
      assert.equal((await inputsOf(shrunk, "applications-v2")).capacity, 0);
    });

    it("leaves the capacity of a whole primary out", async () => {
      const inputs = await inputsOf(placing({ canaryPercent: 10 }, v2, running), "applications-v1");
      assert.equal("capacity" in inputs, false);
    });

    it("touches nothing of the primary's cluster", async () => {
      const alone = await declared(placing({}, v1, running));
      const { resources } = await declared(split);
      assert.deepEqual(
        named(resources, "cluster-v1", "rayserve:local:Cluster"),
        named(alone.resources, "cluster-v1", "rayserve:local:Cluster"),
      );
    });

    it("keeps the cluster of a version that came by an in-place update", async () => {
      const inPlace: RolloutRecord = { ...running, primary: { ...running.primary, ...v2, cluster: "v1" } };
      const { resources, result } = await declared(placing({ canaryPercent: 10 }, version("v3"), inPlace));
      assert.ok(customNames(resources).includes("cluster-v1"));
      assert.deepEqual(Object.keys((await resolved(result.addresses)).value.clusters), ["v1", "v3"]);
    });
  });

  describe("order inside an update", () => {
    it("forward: the canary's applications, then the weights, then the primary's applications", async () => {
      const { resources } = await declared(placing({ canaryPercent: 50 }, v2, rollingOut([100, 100, 10])));
      assert.ok(doneBefore(resources, "load-balancer").has("applications-v2"));
      assert.ok(doneBefore(resources, "applications-v1").has("load-balancer"));
      assert.ok(!doneBefore(resources, "applications-v2").has("load-balancer"));
      assert.ok(!doneBefore(resources, "load-balancer").has("applications-v1"));
    });

    it("back: the primary's applications, then the weights, then the canary's applications", async () => {
      const { resources } = await declared(placing({ canaryPercent: 10 }, v2, rollingOut([50, 50, 50], 50)));
      assert.ok(doneBefore(resources, "load-balancer").has("applications-v1"));
      assert.ok(doneBefore(resources, "applications-v2").has("load-balancer"));
      assert.ok(!doneBefore(resources, "applications-v1").has("load-balancer"));
      assert.ok(!doneBefore(resources, "load-balancer").has("applications-v2"));
    });

    it("at the end of a rollout or a rollback: the version that stays, then the weights", async () => {
      const promoted = await declared(placing({}, v2, rollingOut([50, 50, 50], 50)));
      assert.deepEqual(customNames(promoted.resources), [
        "applications-v2",
        "cluster-v2",
        "load-balancer",
        "query-token",
      ]);
      assert.ok(doneBefore(promoted.resources, "load-balancer").has("applications-v2"));
      const back = await declared(placing({}, v1, rollingOut([50, 50, 50], 50)));
      assert.deepEqual(customNames(back.resources), ["applications-v1", "cluster-v1", "load-balancer", "query-token"]);
      assert.ok(doneBefore(back.resources, "load-balancer").has("applications-v1"));
    });

    it("at once: the weights wait for no applications, and are told so", async () => {
      const placement: Placement = { ...placing({}, v1, rollingOut([25, 75, 75])), order: "concurrent" };
      const { resources } = await declared(placement);
      assert.deepEqual(
        [...doneBefore(resources, "load-balancer")].filter((name) => name.startsWith("applications")),
        [],
      );
      assert.ok(!doneBefore(resources, "applications-v1").has("load-balancer"));
      assert.equal(balancerOf(resources).inputs.immediate, true);
      const ordered = await declared(placing({}, v1, rollingOut([25, 75, 75])));
      assert.equal("immediate" in balancerOf(ordered.resources).inputs, false);
    });

    it("lets applications end with their cluster", async () => {
      const { resources } = await declared(placing({ canaryPercent: 50 }, v2, running));
      for (const name of ["v1", "v2"])
        assert.equal(named(resources, `applications-${name}`).deletedWith, `cluster-${name}`);
    });
  });

  describe("guards", () => {
    const guards = async (placement: Placement, name: string, addresses = recorded) => {
      const { inputs } = named((await declared(placement, addresses)).resources, name);
      const surge = inputs.surge as { peer: { dashboardUrl: string }; maxTotalCapacity: number } | undefined;
      return { peer: surge?.peer.dashboardUrl, most: surge?.maxTotalCapacity, traffic: inputs.traffic };
    };
    const dashboard = (name: string) => addressOf(`cluster-${name}`).dashboardUrl;

    it("hold each side to the surge, with the other one as its peer", async () => {
      const placement = placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, running);
      const [canary, primary] = [
        await guards(placement, "applications-v2"),
        await guards(placement, "applications-v1"),
      ];
      assert.deepEqual([canary.peer, canary.most], [dashboard("v1"), 125]);
      assert.deepEqual([primary.peer, primary.most], [dashboard("v2"), 125]);
    });

    it("hold the version that stays against the one that leaves, where it was recorded", async () => {
      const promotion = await guards(placing({}, v2, rollingOut([50, 50, 50], 50)), "applications-v2");
      assert.deepEqual([promotion.peer, promotion.most], [dashboard("v1"), 150]);
      const rollback = await guards(placing({}, v1, rollingOut([50, 50, 50], 50)), "applications-v1");
      assert.deepEqual([rollback.peer, rollback.most], [dashboard("v2"), 150]);
    });

    it("give the peer's whole address, with the file of its token", async () => {
      const { inputs } = named(
        (await declared(placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, running))).resources,
        "applications-v2",
      );
      assert.deepEqual((inputs.surge as { peer: unknown }).peer, addressOf("cluster-v1"));
    });

    it("are absent without a surge, and when everything goes back at once", async () => {
      assert.equal((await guards(placing({ canaryPercent: 25 }, v2, running), "applications-v2")).peer, undefined);
      const placement: Placement = { ...placing({}, v1, rollingOut([50, 50, 50], 50)), order: "concurrent" };
      assert.equal((await guards(placement, "applications-v1")).peer, undefined);
    });

    it("keep the giving side above its traffic, and only that one", async () => {
      const forward = placing({ canaryPercent: 50 }, v2, rollingOut([100, 100, 10]));
      const { resources } = await declared(forward);
      const directory = balancerOf(resources).inputs.directory;
      assert.deepEqual((await guards(forward, "applications-v1")).traffic, {
        adminSocket: `${directory}/admin.sock`,
        version: "v1",
        drainTimeoutSeconds: 60,
      });
      assert.equal((await guards(forward, "applications-v2")).traffic, undefined);
      const back = placing({ canaryPercent: 10 }, v2, rollingOut([50, 50, 50], 50));
      assert.deepEqual((await guards(back, "applications-v2")).traffic, {
        adminSocket: `${directory}/admin.sock`,
        version: "v2",
        drainTimeoutSeconds: 60,
      });
      assert.equal((await guards(back, "applications-v1")).traffic, undefined);
    });
  });

  describe("query token", () => {
    it("reaches the load balancer as a secret only", async () => {
      const { resources, result } = await declared(placing({}, v1, undefined));
      const balancer = balancerOf(resources);
      assert.ok(result.queryAuthToken);
      const { value, secret } = await resolved(result.queryAuthToken);
      assert.deepEqual([balancer.inputs.queryAuthToken, secret], [value, true]);
      assert.ok(value.length >= 43);
      assert.deepEqual(balancer.secrets, ["queryAuthToken"]);
      assert.deepEqual(named(resources, "query-token").secretOutputs, ["value"]);
      const elsewhere = resources.map((resource) => ({
        ...resource,
        inputs: { ...resource.inputs, queryAuthToken: "" },
      }));
      assert.ok(!JSON.stringify(elsewhere).includes(value));
      assert.ok(!JSON.stringify([result.rollout, await resolved(result.addresses)]).includes(value));
    });

    it("is asked for by nobody when the version says so, and is kept for one that does", async () => {
      const open = version("v1", { query_auth_token_enabled: false });
      const { resources, result } = await declared(placing({}, open, undefined));
      assert.equal(result.queryAuthToken, undefined);
      assert.equal("queryAuthToken" in balancerOf(resources).inputs, false);
      assert.ok(customNames(resources).includes("query-token"));
    });
  });

  describe("outputs", () => {
    it("are the load balancer's URL, the record, and every address by cluster name", async () => {
      const placement = placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, running);
      const { result } = await declared(placement);
      assert.equal((await resolved(result.url)).value, "http://127.0.0.1:8000");
      assert.deepEqual((await resolved(result.addresses)).value, recorded);
      assert.deepEqual(result.rollout.canary?.traffic, 25);
      assert.deepEqual(result.rollout.digest, running.digest);
    });

    it("have the addresses of one cluster when one version runs", async () => {
      const { result } = await declared(placing({}, v2, rollingOut([100, 100, 10])));
      assert.deepEqual((await resolved(result.addresses)).value.clusters, { v2: addressOf("cluster-v2") });
    });
  });
});

function backend(name: string, weight: number) {
  const { serveAddress, ...dashboard } = addressOf(`cluster-${name}`);
  return { version: name, address: serveAddress, weight, ...dashboard };
}

function balancerOf(resources: Parameters<typeof named>[0]) {
  return named(resources, "load-balancer", "rayserve:local:LoadBalancer");
}
