import assert from "node:assert/strict";
import { preflight } from "../../../components/kubernetes/preflight";
import { InvalidInput } from "../../../components/problems";
import { FakeApiServer } from "../../fake/kubernetes/apiServer";
import { version } from "../builders";
import { settings } from "./settingsForTests";

const GATEWAYS = "/apis/gateway.networking.k8s.io/v1";

describe("what is looked at on Kubernetes before anything changes", () => {
  let api: FakeApiServer;
  const own = (changes: Record<string, unknown> = {}) =>
    settings({ kubeconfig: api.kubeconfig, namespace: "models", gateway: { implementation: "other" }, ...changes });
  const look = (changes: Record<string, unknown> = {}, spec: Record<string, unknown> = {}) =>
    preflight(own(changes), { wanted: version("v1", spec), recorded: undefined });

  beforeEach(async () => {
    api = await FakeApiServer.start();
    const named = (names: string[]) => ({ resources: names.map((name) => ({ name })) });
    api.set("/apis/ray.io/v1", named(["rayservices", "rayclusters"]));
    api.set(GATEWAYS, named(["gateways", "gatewayclasses", "httproutes"]));
    api.set("/api/v1/namespaces/models", {});
    api.set(`${GATEWAYS}/namespaces/models/gateways/shared`, {});
  });
  afterEach(() => api.stop());

  it("is nothing to speak of where everything is there", async () => {
    assert.deepEqual(await look(), []);
  });

  it("is the gateway that the config names, a class where one is to be made, and the definitions", async () => {
    const problems = (changes: Record<string, unknown>) =>
      look(changes).then(
        () => "",
        (error: unknown) => {
          assert.ok(InvalidInput.isInstance(error), String(error));
          return error.message;
        },
      );
    const named = { gateway: { name: "none", implementation: "other" } };
    assert.match(
      await problems(named),
      /gateway\.name: "none" is no Gateway in namespace models; name one that exists/,
    );
    const made = { gateway: { className: "eg", implementation: "other" } };
    assert.match(await problems(made), /gateway\.className: "eg" is no GatewayClass; kubectl get gatewayclasses/);
    assert.match(await problems({ gateway: {} }), /has no Envoy Gateway .*set `gateway\.implementation` to other/);
  });

  it("is told of where Ray's dashboard has no token", async () => {
    const [older] = await look({}, { ray_version: "2.51.0" });
    assert.match(older ?? "", /Every pod .* Ray's dashboard of v1 .* it has Ray 2\.51\.0, .* from Ray 2\.52 on/);
    const [unknown] = await look({}, { image_uri: "example.com/mine:latest" });
    assert.match(unknown ?? "", /its Ray version is not known/);
  });
});
