import assert from "node:assert/strict";
import { whyNoPod, withRemedy } from "../../../provider/kubernetes/pods";
import { FakeApiServer } from "../../fake/kubernetes/apiServer";
import { type FakeRayService, rayServices } from "./clusterForTests";

describe("what Kubernetes says of pods", () => {
  it("comes with what can be done about it", () => {
    for (const [trouble, remedy] of [
      ["pod a: container ray: ErrImagePull: not found", /Give an image that is there/],
      ["pod a: Unschedulable: 0/3 nodes are available: 2 Insufficient nvidia.com/gpu.", /add nodes that offer them/],
      ["pod a: Unschedulable: 0/3 nodes are available: 3 Insufficient memory.", /Ask for less in `compute_config`/],
      ["pod a: Unschedulable: 3 node(s) didn't match Pod's node affinity/selector", /labels of `instance_type`/],
      ["pods are forbidden: exceeded quota: small", /smaller `--max-surge-percent`/],
      ["pod a: container ray: CrashLoopBackOff: back-off 10s", /`kubectl logs --previous`/],
    ] as const) {
      const said = withRemedy([trouble]);
      assert.ok(said.startsWith(`${trouble.replace(/\.$/, "")}. `), said);
      assert.match(said, remedy);
    }
  });

  it("stays as it is where only its own words help", () => {
    assert.equal(withRemedy(["pod a: Odd: one", "pod b: Odd: two."]), "pod a: Odd: one; pod b: Odd: two.");
  });

  describe("of a RayService", () => {
    let api: FakeApiServer;
    let v1: FakeRayService;
    beforeEach(async () => {
      api = await FakeApiServer.start();
      [v1] = rayServices(api, "v1") as [FakeRayService];
    });
    afterEach(() => api.stop());

    it("is nothing where its pods run, and else why there are none, with the remedy", async () => {
      assert.equal(await whyNoPod(v1.address), undefined);
      const message = 'pods "sample-service-v1-abcde-worker" is forbidden: exceeded quota: small';
      const involvedObject = { kind: "RayCluster", name: "sample-service-v1-abcde" };
      api.set("/api/v1/namespaces/models/events/one", { message, involvedObject });
      assert.match((await whyNoPod(v1.address)) ?? "", /exceeded quota: small\. Raise the quota/);
    });
  });
});
