import assert from "node:assert/strict";
import { labelValue } from "../../components/kubernetes/names";
import type { Project } from "../../rollout/project";
import { endStrayRayServices, type HeldResource } from "../../rollout/strayRayServices";
import { FakeApiServer } from "../fake/kubernetes/apiServer";

const path = "/apis/ray.io/v1/namespaces/models/rayservices";
const project = { name: "rayshift", stack: "dev" } as Project;

describe("endStrayRayServices", () => {
  let api: FakeApiServer;

  beforeEach(async () => {
    api = await FakeApiServer.start();
    const make = (name: string, service: string, stack: string) => {
      const labels = { "rayshift.io/stack": labelValue(stack), "rayshift.io/service": service };
      api.set(`${path}/${name}`, { metadata: { labels }, spec: {} });
    };
    make("versions-v1", "versions", "rayshift/dev");
    make("versions-v2", "versions", "rayshift/dev");
    make("others-v1", "others", "rayshift/dev");
    make("versions-v3", "versions", "rayshift/other");
  });
  afterEach(() => api.stop());

  const provider = (): HeldResource => ({
    type: "pulumi:providers:kubernetes",
    urn: "provider",
    inputs: { kubeconfig: api.kubeconfig, namespace: "models" },
  });
  const held: HeldResource = {
    type: "kubernetes:ray.io/v1:RayService",
    urn: "v1",
    id: "models/versions-v1",
    inputs: { metadata: { labels: { "rayshift.io/service": "versions" } } },
  };
  const left = () => [...api.objects.keys()].map((each) => each.slice(path.length + 1)).sort();

  it("ends those of the stack that it does not hold, and neither another stack's nor another service's of the same name of stack", async () => {
    assert.deepEqual(await endStrayRayServices(project, [provider(), held]), ["versions-v2"]);
    assert.deepEqual(left(), ["others-v1", "versions-v1", "versions-v3"]);
  });

  it("asks nobody for a stack that never was on Kubernetes", async () => {
    assert.deepEqual(await endStrayRayServices(project, []), []);
    assert.equal(api.requests.length, 0);
  });

  it("leaves it to the update to say that the API server does not let it in", async () => {
    api.token = "renewed";
    assert.deepEqual(await endStrayRayServices(project, [provider()]), []);
    assert.equal(left().length, 4);
  });
});
