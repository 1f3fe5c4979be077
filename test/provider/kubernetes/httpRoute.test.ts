import assert from "node:assert/strict";
import { httpRoute } from "../../../components/kubernetes/route";
import { moveAllTraffic, readRouteWeights } from "../../../provider/kubernetes/httpRoute";
import { settings } from "../../components/kubernetes/settingsForTests";
import { FakeApiServer } from "../../fake/kubernetes/apiServer";
import { routeAddress, routePath } from "./clusterForTests";

const args = { service: "sample-service", stack: "s", settings: settings({ namespace: "models" }) };
const weighted = (version: string, weight: number) => ({ version, weight });

describe("an HTTPRoute's weights", () => {
  let api: FakeApiServer;

  beforeEach(async () => {
    api = await FakeApiServer.start();
  });
  afterEach(() => api.stop());

  const accepted = (observedGeneration: number, status = "True", message?: string) => ({
    parents: [
      {
        parentRef: { name: "shared" },
        conditions: ["Accepted", "ResolvedRefs"].map((type) => ({
          type,
          status,
          observedGeneration,
          reason: "Why",
          message,
        })),
      },
    ],
  });
  const write = (primary: number, status: object) => {
    const { manifest } = httpRoute(args, { primary: weighted("v1", primary), canary: weighted("v2", 100 - primary) });
    return api.set(routePath, { ...manifest, status });
  };

  it("are those of its one rule that asks for no header, by version", async () => {
    write(75, accepted(1));
    const weights = await readRouteWeights(routeAddress(api));
    assert.deepEqual([weights.v1?.weight, weights.v2?.weight], [75, 25]);
  });

  it("count once the controller has looked at the route as it stands", async () => {
    write(75, accepted(0));
    const later = setTimeout(() => write(75, accepted(1)), 500);
    const began = Date.now();
    await readRouteWeights(routeAddress(api));
    clearTimeout(later);
    assert.ok(Date.now() - began >= 400);
  });

  it("are not known of a route that its gateway refuses, in the controller's words", async function () {
    this.timeout(15_000);
    write(75, accepted(1, "False", "no backend"));
    await assert.rejects(
      readRouteWeights(routeAddress(api)),
      /HTTPRoute models\/sample-service is not in effect: .*no backend/,
    );
  });

  it("go to one version at a stroke, and only of the route that was read", async () => {
    write(75, accepted(1));
    await moveAllTraffic(routeAddress(api), "v1");
    const refs = api.objects
      .get(routePath)
      .spec.rules.flatMap((rule: { backendRefs?: object[] }) => rule.backendRefs ?? []);
    assert.deepEqual(
      refs.filter(({ weight }: { weight: number }) => weight !== 1).map(({ weight }: { weight: number }) => weight),
      [100, 0],
    );
    await assert.rejects(moveAllTraffic(routeAddress(api), "v9"), /v9 is not a backend/);
  });
});
