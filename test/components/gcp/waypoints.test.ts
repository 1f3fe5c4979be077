import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import type { Version } from "../../../components/record";
import { placing, recordAfter } from "../builders";
import type { Registered } from "../mockedEngine";
import { declared, first, firstDeploy, isGcp, v1, v2 } from "./targetForTests";

describe("the target gcp", function () {
  this.timeout(20_000);

  /** What the engine would do about an object when one update follows another. */
  const changesBetween = (before: readonly Registered[], after: readonly Registered[]) => {
    // Each mocked stack has tokens of its own, and its maps and secrets with them.
    const objects = (resources: readonly Registered[]) =>
      new Map(
        resources
          .filter(isGcp)
          .map(({ type, name, inputs }) => [`${type.split(":").at(-1)} ${name}`, withoutTokens(inputs)]),
      );
    const [was, is] = [objects(before), objects(after)];
    return {
      made: [...is.keys()].filter((name) => !was.has(name)).sort(),
      ended: [...was.keys()].filter((name) => !is.has(name)).sort(),
      changed: [...is]
        .filter(([name, inputs]) => was.has(name) && !isDeepStrictEqual(was.get(name), inputs))
        .map(([name]) => name)
        .sort(),
    };
  };
  const withoutTokens = (inputs: object) =>
    JSON.parse(
      JSON.stringify(inputs)
        .replace(/Bearer [-\w]{43}/g, "Bearer x")
        .replace(/"secretData":"[^"]*"/, '"secretData":"x"'),
    );

  describe("over a whole rollout under a surge", () => {
    const clusterObjects = (cluster: string) =>
      [
        `BackendService backend-${cluster}`,
        `BucketObject serve-config-${cluster}`,
        `Instance head-${cluster}`,
        `InstanceGroup head-group-${cluster}`,
        `InstanceTemplate template-${cluster}-cpu`,
        `InstanceTemplate template-${cluster}-gpu`,
        `InstanceTemplate template-${cluster}-t4-spot`,
        `Secret ray-token-secret-${cluster}`,
        `SecretIamMember ray-token-head-grant-${cluster}`,
        `SecretIamMember ray-token-worker-grant-${cluster}`,
        `SecretVersion ray-token-version-${cluster}`,
      ].sort();
    const MAPS = ["URLMap service-map", "URLMap versions-map"];
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
    const walk = async (steps: Array<[changes: object, wanted: Version]>) => {
      let record = recordAfter(first);
      let { resources } = await firstDeploy();
      const seen = [];
      for (const [changes, wanted] of steps) {
        const placement = placing(changes, wanted, record);
        const { resources: next } = await declared(placement);
        seen.push(changesBetween(resources, next));
        record = recordAfter(placement);
        resources = next;
      }
      return seen;
    };
    const configs = (...clusters: string[]) => clusters.map((cluster) => `BucketObject serve-config-${cluster}`);

    it("makes the canary's objects once, changes weights and kept configs at each waypoint, and ends the primary's at last", async () => {
      const seen = await walk([
        [waypoint(60, 40, 40), v2],
        [waypoint(20, 80, 80), v2],
        [waypoint(0, 100, 100), v2],
        [{}, v2],
      ]);
      assert.deepEqual(seen, [
        { made: clusterObjects("v2"), ended: [], changed: [...configs("v1"), ...MAPS] },
        { made: [], ended: [], changed: [...configs("v1", "v2"), "URLMap service-map"] },
        { made: [], ended: [], changed: [...configs("v1", "v2"), "URLMap service-map"] },
        { made: [], ended: clusterObjects("v1"), changed: [...configs("v2"), ...MAPS] },
      ]);
    });

    it("leaves after a rollback what was there before the rollout", async () => {
      const before = await firstDeploy();
      const forward = recordAfter(placing(waypoint(60, 40, 40), v2, recordAfter(first)));
      const back = recordAfter(placing(waypoint(100, 40, 0, "back"), v1, forward));
      const after = await declared(placing({}, v1, back));
      assert.deepEqual(changesBetween(before.resources, after.resources), { made: [], ended: [], changed: [] });
    });
  });
});
