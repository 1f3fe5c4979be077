import assert from "node:assert/strict";
import { httpRoute } from "../../components/kubernetes/route";
import type { Addresses } from "../../components/service";
import { putApplications } from "../../provider/serve/dashboard";
import { inspect } from "../../rollout/inspect";
import { withdrawTraffic } from "../../rollout/withdraw";
import { rollingOut } from "../components/builders";
import { settings } from "../components/kubernetes/settingsForTests";
import { FakeApiServer } from "../fake/kubernetes/apiServer";
import {
  config,
  type FakeRayService,
  rayServices,
  routeAddress,
  routePath,
} from "../provider/kubernetes/clusterForTests";

describe("inspect, on Kubernetes", () => {
  let api: FakeApiServer;
  let v1: FakeRayService;
  let v2: FakeRayService;
  let targets: Addresses;
  const record = rollingOut([75, 50, 25], 25);

  beforeEach(async () => {
    api = await FakeApiServer.start();
    [v1, v2] = rayServices(api, "v1", "v2") as [FakeRayService, FakeRayService];
    targets = {
      clusters: {
        v1: { kubernetes: v1.address, serveAddress: "" },
        v2: { kubernetes: v2.address, serveAddress: "" },
      },
      loadBalancer: { httpRoute: routeAddress(api) },
    };
    const args = { service: "sample-service", stack: "s", settings: settings({ namespace: "models" }) };
    const { manifest } = httpRoute(args, {
      primary: { version: "v1", weight: 75 },
      canary: { version: "v2", weight: 25 },
    });
    const conditions = ["Accepted", "ResolvedRefs"].map((type) => ({ type, status: "True", observedGeneration: 99 }));
    api.set(routePath, { ...manifest, status: { parents: [{ parentRef: { name: "shared" }, conditions }] } });
    await putApplications({ kubernetes: v1.address }, { ...config, target_capacity: 75 });
    await putApplications({ kubernetes: v2.address }, { ...config, target_capacity: 50 });
  });
  afterEach(() => api.stop());

  it("asks Ray for the capacities and the route for the weights", async () => {
    const seen = await inspect(record, targets);
    assert.deepEqual(seen.at, { primaryCapacity: 75, canaryCapacity: 50, canaryTraffic: 25 });
    assert.deepEqual([seen.gone, seen.drifted], [[], false]);
  });

  it("finds a cluster whose RayService is gone, and one whose head is silent", async () => {
    v2.remove();
    assert.deepEqual((await inspect(record, targets)).gone, ["the cluster of v2"]);
    v1.head = false;
    assert.deepEqual((await inspect(record, targets)).gone, ["the cluster of v1", "the cluster of v2"]);
  });

  it("knows whether the canary's requests are answered without its head", async () => {
    assert.equal((await inspect(record, targets)).outlivesHead, false);
    targets.clusters.v1!.outlivesHead = true;
    assert.equal((await inspect(record, targets)).outlivesHead, false);
    targets.clusters.v2!.outlivesHead = true;
    v2.head = false;
    assert.equal((await inspect(record, targets)).outlivesHead, true);
  });

  it("takes a silent API server, or one that does not let it in, for no finding", async () => {
    api.token = "renewed";
    await assert.rejects(inspect(record, targets), /credentials.*expired\?.*\nNothing is known of the service/);
  });

  it("takes the traffic of an unhealthy canary away at the route itself", async () => {
    await withdrawTraffic({ rollout: record, targets });
    assert.deepEqual((await inspect(record, targets)).at.canaryTraffic, 0);
  });
});
