import assert from "node:assert/strict";
import fc from "fast-check";
import type { AutoscalingConfig, DeploymentConfig, ServeConfig } from "../../../provider/serve/config";
import type { DeploymentObservation } from "../../../provider/serve/observation";
import {
  carriedOver,
  configToSend,
  type DeclaredCounts,
  declaredCounts,
  expectedReplicas,
  isLearned,
} from "../../../provider/serve/scaling";
import { rayReplicas } from "../../../rollout/replicas";

/** A deployment of three replicas, of which none runs. */
const aDeployment: DeploymentObservation = {
  status: "HEALTHY",
  message: "",
  trigger: "CONFIG_UPDATE_COMPLETED",
  targetReplicas: 0,
  running: 0,
  byState: {},
  full: 3,
  maxOngoingRequests: 5,
  gracefulShutdownTimeout: 20,
  replicaIds: [],
  nodeIds: [],
  runningIds: [],
};

describe("The counts sent to Ray", () => {
  const config = (...deployments: DeploymentConfig[]): ServeConfig => ({
    applications: [{ name: "a", import_path: "m:app", ...(deployments.length === 0 ? {} : { deployments }) }],
  });
  const declared = (count: DeclaredCounts[string][string], name = "D"): DeclaredCounts => ({ a: { [name]: count } });
  const sent = (
    declaration: DeclaredCounts,
    capacity: number | null,
    initial: Parameters<typeof configToSend>[3] = "ignored",
    base = config(),
  ) => {
    const deployment = configToSend(base, capacity, declaration, initial);
    return deployment.applications[0]?.deployments?.find((each) => each.name === "D") as DeploymentConfig;
  };
  const scaling = (min: number, initial: number | undefined, max: number): AutoscalingConfig => ({
    min_replicas: min,
    max_replicas: max,
    ...(initial === undefined ? {} : { initial_replicas: initial }),
  });

  it("make Ray run exactly the share, rounded up, at every capacity", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 0, max: 100 }), (count, capacity) => {
        const { num_replicas } = sent(declared({ replicas: count }), capacity);
        assert.equal(rayReplicas(num_replicas as number, capacity), Math.ceil((count * capacity) / 100));
        const expected = expectedReplicas(declared({ replicas: count }), capacity, "ignored").a?.D;
        assert.deepEqual(expected, {
          atLeast: Math.ceil((count * capacity) / 100),
          atMost: Math.ceil((count * capacity) / 100),
        });
      }),
    );
  });

  it("are the declared ones at full capacity, however that is written", () => {
    for (const capacity of [null, 100, 0]) assert.equal(sent(declared({ replicas: 7 }), capacity).num_replicas, 7);
  });

  it("keep the bounds of a deployment that scales by itself in order, as Ray demands", () => {
    const counts = fc.tuple(fc.nat(60), fc.nat(60), fc.nat(60)).map((all) => all.sort((a, b) => a - b));
    fc.assert(
      fc.property(counts, fc.nat(100), ([min = 0, initial = 0, max = 0], capacity) => {
        const bounds = sent(
          declared({ autoscaling: scaling(min, initial, max + 1) }),
          capacity,
          "start",
        ).autoscaling_config;
        const { min_replicas = 0, initial_replicas, max_replicas = 0 } = bounds as AutoscalingConfig;
        assert.ok(min_replicas <= (initial_replicas ?? 0) && (initial_replicas ?? 0) <= max_replicas);
      }),
    );
  });

  it("name every deployment, also those that only the code names, in an order that does not depend on the state's", () => {
    const names = (counts: DeclaredCounts) =>
      configToSend(config({ name: "Z" }), 30, counts, "ignored").applications[0]?.deployments?.map(({ name }) => name);
    const one = { replicas: 1 };
    assert.deepEqual(names({ a: { Z: one, C: one, B: one } }), ["Z", "B", "C"]);
    assert.deepEqual(names({ a: { B: one, Z: one, C: one } }), ["Z", "B", "C"]);
  });

  it("leave the config's other options as they are, and the config itself unchanged", () => {
    const base = config({ name: "D", num_replicas: 3, user_config: { threshold: 1 } });
    const before = JSON.stringify(base);
    assert.deepEqual(sent(declared({ replicas: 3 }), 40, "ignored", base), {
      name: "D",
      num_replicas: 4,
      user_config: { threshold: 1 },
    });
    assert.equal(JSON.stringify(base), before);
  });

  it("carry initial_replicas as a canary's floor, as the first count where nothing runs, and not at all elsewhere", () => {
    const counts = declared({ autoscaling: scaling(1, 4, 8) });
    assert.deepEqual(sent(counts, 50, "floor").autoscaling_config, scaling(4, undefined, 8));
    assert.deepEqual(sent(counts, null, "start").autoscaling_config, scaling(1, 4, 8));
    assert.deepEqual(sent(counts, null, "ignored").autoscaling_config, scaling(1, undefined, 8));
    assert.deepEqual(expectedReplicas(counts, 50, "floor").a?.D, { atLeast: 2, atMost: 4 });
    assert.deepEqual(expectedReplicas(counts, 50, "ignored").a?.D, { atLeast: 1, atMost: 4 });
  });

  it("never turn a fixed number into autoscaling or back", () => {
    const base = config({ name: "D", num_replicas: 3 });
    const scaled = sent(declared({ autoscaling: scaling(3, undefined, 9) }), 40, "ignored", base);
    assert.deepEqual(Object.keys(scaled), ["name", "autoscaling_config"]);
    assert.equal(sent(declared({ replicas: 3 }), 40, "ignored", base).autoscaling_config, undefined);
  });

  describe("with the time that a replica has to end its requests", () => {
    const seconds = (count: DeclaredCounts[string][string], drainTimeoutSeconds?: number, base = config()) =>
      configToSend(base, 50, declared(count), "ignored", drainTimeoutSeconds).applications[0]?.deployments?.[0]
        ?.graceful_shutdown_timeout_s;

    it("give the drain timeout to replicas for which nobody chose a time, and never less than Ray would", () => {
      assert.equal(seconds({ replicas: 3 }, 120), 120);
      assert.equal(seconds({ autoscaling: scaling(1, undefined, 4) }, 120), 120);
      for (const short of [undefined, 0, 20]) assert.equal(seconds({ replicas: 3 }, short), undefined);
    });

    it("leave what the config or the code chose", () => {
      const base = config({ name: "D", graceful_shutdown_timeout_s: 5 });
      assert.equal(seconds({ replicas: 3 }, 120, base), 5);
      assert.equal(seconds({ replicas: 3, shutdownSeconds: 600 }, 120), undefined);
    });

    it("learn what the code chose from a cluster that was sent nothing of it", () => {
      const read = (gracefulShutdownTimeout: number) => ({
        targetCapacity: 0,
        applications: {
          a: { status: "RUNNING", message: "", deployments: { D: { ...aDeployment, gracefulShutdownTimeout } } },
        },
      });
      assert.deepEqual(declaredCounts(read(20), config(), {}), declared({ replicas: 3 }));
      assert.deepEqual(declaredCounts(read(600), config(), {}), declared({ replicas: 3, shutdownSeconds: 600 }));
      const chosen = config({ name: "D", graceful_shutdown_timeout_s: 600 });
      assert.deepEqual(declaredCounts(read(600), chosen, {}), declared({ replicas: 3 }));
      const dropped = carriedOver(chosen, config(), declared({ replicas: 3 }));
      assert.deepEqual(dropped, declared("unknown"));
    });
  });

  describe("that were learned", () => {
    const counts: DeclaredCounts = { a: { D: { replicas: 3 }, E: { autoscaling: scaling(1, undefined, 4) } } };

    it("hold for a config that changes nothing about them", () => {
      const after = config({ name: "D", user_config: { threshold: 2 } });
      assert.deepEqual(carriedOver(config(), after, counts), counts);
      assert.ok(isLearned(after, counts));
    });

    it("are unknown where the config says another number, or stops saying one", () => {
      for (const [before, after] of [
        [config({ name: "D", num_replicas: 3 }), config({ name: "D", num_replicas: 5 })],
        [config({ name: "D", num_replicas: 3 }), config()],
      ] as const) {
        const carried = carriedOver(before, after, counts);
        assert.deepEqual(carried, { a: { ...counts.a, D: "unknown" } });
        assert.ok(!isLearned(after, carried));
        const sentEntry = sent(carried, 40, "ignored", after);
        assert.deepEqual(sentEntry, after.applications[0]?.deployments?.[0] ?? { name: "D" });
      }
    });

    it("are forgotten with the code they were declared in", () => {
      const after: ServeConfig = { applications: [{ name: "a", import_path: "m:other" }] };
      assert.deepEqual(carriedOver(config(), after, counts), {});
      assert.ok(!isLearned(after, {}));
    });
  });
});
