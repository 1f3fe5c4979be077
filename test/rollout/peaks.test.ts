import assert from "node:assert/strict";
import { parseServiceSpec } from "../../components/serviceSpec";
import { parseObservation } from "../../provider/serve/observation";
import { type Demand, demandsOf, peakOf } from "../../rollout/peaks";
import { primaryOnly, traversed, type Waypoint, walk } from "../../rollout/plan";

const spec = (...deployments: object[]) =>
  parseServiceSpec({ name: "words", applications: [{ import_path: "app:app", deployments }] }).spec;

const running = (deployments: object) =>
  parseObservation(JSON.stringify({ applications: { default: { status: "RUNNING", deployments } } }), "the test");

const ofOne = (deployment: object, role: "primary" | "canary" = "primary") =>
  demandsOf(spec({ name: "D", ...deployment }), role, undefined)?.map(({ replicas }) => replicas);

describe("demandsOf", () => {
  it("is what the spec says: a count, or bounds with Ray's defaults", () => {
    assert.deepEqual(ofOne({ num_replicas: 3 }), [{ least: 3, most: 3 }]);
    assert.deepEqual(ofOne({ autoscaling_config: { min_replicas: 0, max_replicas: 5 } }), [{ least: 0, most: 5 }]);
    assert.deepEqual(ofOne({ autoscaling_config: {} }), [{ least: 1, most: 1 }]);
    assert.deepEqual(ofOne({ num_replicas: "auto" }), [{ least: 1, most: 100 }]);
    assert.deepEqual(ofOne({ num_replicas: "auto", autoscaling_config: { max_replicas: 7 } }), [{ least: 1, most: 7 }]);
  });

  it("counts initial_replicas as the least on a canary, and on no primary", () => {
    const scaling = { autoscaling_config: { min_replicas: 1, initial_replicas: 4, max_replicas: 8 } };
    assert.deepEqual(ofOne(scaling, "canary"), [{ least: 4, most: 8 }]);
    assert.deepEqual(ofOne(scaling, "primary"), [{ least: 1, most: 8 }]);
  });

  it("is what runs where the spec leaves it to the code, and unknown where nothing does", () => {
    const runs = running({
      D: { status: "HEALTHY", deployment_config: { num_replicas: 2 } },
      Scaling: { status: "HEALTHY", deployment_config: { autoscaling_config: { min_replicas: 1, max_replicas: 6 } } },
    });
    const replicas = (...deployments: object[]) =>
      demandsOf(spec(...deployments), "primary", runs)?.map((demand) => demand.replicas);
    const scaling = { least: 1, most: 6 };
    assert.deepEqual(replicas(), [{ least: 2, most: 2 }, scaling]);
    assert.deepEqual(replicas({ name: "D", num_replicas: 9 }), [{ least: 9, most: 9 }, scaling]);
    assert.deepEqual(replicas({ name: "D" }), [{ least: 2, most: 2 }, scaling]);
    assert.equal(replicas({ name: "New" }), undefined);
    assert.equal(demandsOf(spec(), "primary", undefined), undefined);
    assert.equal(ofOne({}), undefined);
  });
});

describe("peakOf", () => {
  const fixed = (count: number, gpus?: number): Demand => ({ replicas: { least: count, most: count }, gpus });
  const at = (primaryCapacity: number, canaryCapacity: number): Waypoint => ({
    primaryCapacity,
    canaryCapacity,
    canaryTraffic: 0,
  });

  it("counts both clusters, every deployment rounded up", () => {
    const peak = peakOf({ primary: [fixed(7), fixed(1)], canary: [fixed(3)] }, [at(50, 30)]);
    assert.deepEqual(peak?.replicas, { least: 6, most: 6 });
  });

  it("is the worst of the instants, for the least and the most of what scales", () => {
    const full = { primary: [fixed(8)], canary: [{ replicas: { least: 2, most: 8 }, gpus: undefined }] };
    const to = walk(primaryOnly, { kind: "split", traffic: 100, surge: 50 });
    const instants = [primaryOnly, ...to].flatMap((from, index) => traversed(from, to[index] ?? from));
    assert.deepEqual(peakOf(full, instants)?.replicas, { least: 9, most: 12 });
    assert.deepEqual(peakOf(full, [])?.replicas, { least: 0, most: 0 });
  });

  it("counts the GPUs of each replica, and says none where one is not known", () => {
    const primary = [fixed(4, 1), fixed(2, 0)];
    assert.deepEqual(peakOf({ primary, canary: [fixed(3, 0.5)] }, [at(100, 100)])?.gpus, { least: 5.5, most: 5.5 });
    assert.equal(peakOf({ primary, canary: [fixed(3)] }, [at(100, 100)])?.gpus, undefined);
  });

  it("is unknown where a version's counts are", () => {
    assert.equal(peakOf({ primary: [fixed(1)], canary: undefined }, [at(100, 0)]), undefined);
  });
});
