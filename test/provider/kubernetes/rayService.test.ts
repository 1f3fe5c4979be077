import assert from "node:assert/strict";
import { parse } from "yaml";
import { getFromDashboard } from "../../../provider/kubernetes/rayService";
import {
  DashboardUnreachable,
  getApplications,
  HeadMissing,
  NoWayToDashboard,
  putApplications,
  ServeRejected,
} from "../../../provider/serve/dashboard";
import { clusterNodes } from "../../../provider/serve/nodes";
import { FakeApiServer, statusText } from "../../fake/kubernetes/apiServer";
import { config, type FakeRayService, rayServices } from "./clusterForTests";

describe("Ray behind an API server", () => {
  let api: FakeApiServer;
  let ray: FakeRayService;

  beforeEach(async () => {
    api = await FakeApiServer.start();
    [ray] = rayServices(api, "v1") as [FakeRayService];
  });
  afterEach(() => api.stop());

  const address = () => ({ kubernetes: ray.address });

  it("is asked through the service of the head, with the token of KubeRay's Secret", async () => {
    assert.deepEqual((await getApplications(address())).applications, {});
    assert.equal((await clusterNodes(address())).length, 1);
  });

  it("is found again when the cluster was made anew, with another service", async () => {
    await getApplications(address());
    api.forward = (path, to, request) => {
      if (to !== "another-head-svc:dashboard") return { status: 404, body: statusText(`services "${to}" not found`) };
      return ray.forward(path, request.headers);
    };
    const [path, cluster] = [...api.objects].find(([each]) => each.includes("/rayclusters/"))!;
    api.set(path, { ...cluster, status: { head: { serviceName: "another-head-svc" } } });
    assert.deepEqual((await getApplications(address())).applications, {});
  });

  it("has ended when there is no RayService, and may still run when only its head is silent", async () => {
    const refused = async () => {
      const error = await getApplications(address()).catch((reason: unknown) => reason);
      assert.ok(error instanceof DashboardUnreachable, String(error));
      return error.refused;
    };
    ray.head = false;
    assert.equal(await refused(), false);
    for (const path of api.objects.keys()) if (path.includes("/rayclusters/")) api.objects.delete(path);
    assert.equal(await refused(), false);
    ray.remove();
    assert.equal(await refused(), true);
  });

  it("has no head where none of its pods is one that runs, and says why", async () => {
    ray.head = false;
    const pod = (status: object) => {
      api.set("/api/v1/namespaces/models/pods/head", {
        metadata: { labels: { "rayshift.io/cluster": ray.address.rayService, "ray.io/node-type": "head" } },
        status,
      });
    };
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason: "Unschedulable",
      message: "0/3 nodes are available",
    };
    pod({ phase: "Pending", conditions: [condition] });
    await assert.rejects(getApplications(address()), (error) => {
      assert.ok(error instanceof HeadMissing, String(error));
      assert.equal(error.why, "pod head: Unschedulable: 0/3 nodes are available");
      return !error.refused;
    });
    pod({ phase: "Running" });
    await assert.rejects(getApplications(address()), (error) => !(error instanceof HeadMissing));
  });

  it("is silent itself where the API server answers, and only what is forwarded to its head hangs", async () => {
    api.forward = () => undefined;
    for (const head of [undefined, "Running"]) {
      if (head !== undefined) {
        api.set("/api/v1/namespaces/models/pods/head", {
          metadata: { labels: { "rayshift.io/cluster": ray.address.rayService, "ray.io/node-type": "head" } },
          status: { phase: head },
        });
      }
      const error = await getFromDashboard(ray.address, "/api/v0/nodes", 300).catch((reason: unknown) => reason);
      assert.ok(error instanceof DashboardUnreachable && !(error instanceof NoWayToDashboard), String(error));
      assert.equal(error instanceof HeadMissing, head === undefined);
    }
  });

  it("may still run when the API server is silent, which is named", async () => {
    const kubernetes = { ...ray.address, kubeconfig: `${api.folder}/other` };
    api.writeKubeconfig(api.token);
    const { readFileSync, writeFileSync } = await import("node:fs");
    const text = readFileSync(api.kubeconfig, "utf8").replace(/127\.0\.0\.1:\d+/, "127.0.0.1:9");
    writeFileSync(kubernetes.kubeconfig, text);
    await assert.rejects(getApplications({ kubernetes }), (error) => {
      assert.ok(error instanceof NoWayToDashboard);
      assert.match(error.message, /RayService models\/sample-service-v1.*127\.0\.0\.1:9/);
      return !error.refused;
    });
  });

  it("tells expired credentials from a refusal of Ray's, and takes new ones from the kubeconfig", async () => {
    api.token = "renewed";
    await assert.rejects(getApplications(address()), (error) => {
      return (
        error instanceof NoWayToDashboard &&
        /does not accept the credentials of kubeconfig .*expired\?/.test(error.message)
      );
    });
    api.writeKubeconfig("renewed");
    await getApplications(address());
    for (const [path, object] of api.objects) if (path.includes("/secrets/")) api.set(path, { ...object, data: {} });
    const [fresh] = rayServices(api, "v2") as [FakeRayService];
    api.objects.delete("/api/v1/namespaces/models/secrets/sample-service-v2-abcde");
    await assert.rejects(getApplications({ kubernetes: fresh.address }), (error) => {
      assert.ok(error instanceof ServeRejected);
      return /refused no token, its Secret is not there \(401\)/.test(error.message);
    });
  });

  describe("sending a config", () => {
    it("writes it into the RayService, with the capacity, and ends when Ray has taken it over", async () => {
      await putApplications(address(), { ...config, target_capacity: 50 });
      assert.equal((await getApplications(address())).targetCapacity, 50);
      const written = api.objects.get("/apis/ray.io/v1/namespaces/models/rayservices/sample-service-v1");
      assert.deepEqual(parse(written.spec.serveConfigV2), { ...config, target_capacity: 50 });
    });

    it("sends the same config once more, which KubeRay would not do for the same text", async () => {
      const texts = new Set<string>();
      for (let time = 0; time < 2; time++) {
        await putApplications(address(), { ...config, target_capacity: null });
        texts.add(
          api.objects.get("/apis/ray.io/v1/namespaces/models/rayservices/sample-service-v1").spec.serveConfigV2,
        );
      }
      assert.equal(texts.size, 2);
    });

    it("does not take the old config of the same capacity for the new one", async () => {
      await putApplications(address(), { ...config, target_capacity: null });
      ray.operator = false;
      let done = false;
      const sending = putApplications(address(), { ...config, target_capacity: null }).then(() => {
        done = true;
      });
      await new Promise((later) => setTimeout(later, 1000));
      assert.equal(done, false);
      ray.operator = true;
      ray.reconcile(api.objects.get("/apis/ray.io/v1/namespaces/models/rayservices/sample-service-v1"));
      await sending;
    });

    it("fails with Ray's own words when Ray refuses it", async function () {
      this.timeout(10_000);
      ray.operator = false;
      api.set("/api/v1/namespaces/models/events/one", {
        message: "UpdateDeployments fail: 400 Bad Request 1 validation error for ServeDeploySchema",
        lastTimestamp: new Date(Date.now() + 1000).toISOString(),
      });
      await assert.rejects(putApplications(address(), { ...config, target_capacity: null }), (error) => {
        return error instanceof ServeRejected && /validation error for ServeDeploySchema/.test(error.message);
      });
    });

    it("makes no RayService where there is none", async () => {
      ray.remove();
      await assert.rejects(putApplications(address(), { ...config, target_capacity: null }), /there is no RayService/);
      assert.ok(![...api.objects.keys()].some((path) => path.includes("/rayservices/")));
    });
  });
});
