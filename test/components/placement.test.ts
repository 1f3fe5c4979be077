import assert from "node:assert/strict";
import fc from "fast-check";
import { type Placement, Refusal, recordOf, waypointOf } from "../../components/placement";
import { parseRecord, type RolloutRecord, type Version } from "../../components/record";
import type { ConfiguredWaypoint, StackConfig } from "../../components/stackConfig";
import { nextWaypoint, traversed, type Waypoint } from "../../rollout/plan";
import {
  deadline,
  endOf,
  placing,
  recordAfter,
  rollingOut,
  running,
  spec,
  startedAt,
  v1,
  v2,
  v3,
  version,
} from "./builders";

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(Refusal.isInstance(error), String(error));
    return error.message;
  }
  return assert.fail("nothing was refused");
}

/** Refused, with the command that does it and the assurance that the service is as it was. */
function refusedWith(command: string | RegExp, run: () => unknown): string {
  const message = refusal(run);
  assert.match(message, typeof command === "string" ? new RegExp(`\`${command}\``) : command);
  assert.match(message, /Nothing was changed\.$/);
  return message;
}

/** [primary capacity, canary capacity, canary traffic] of a rollout that goes on. */
function triple({ primary, canary }: Placement): [number | null, number | null, number] {
  assert.ok(canary, "there is no canary");
  assert.equal(primary.traffic, 100 - canary.traffic);
  return [primary.capacity, canary.capacity, canary.traffic];
}

/** The version that runs alone, and the one that leaves for it. */
function alone(placement: Placement): { primary: string; leaving: string | undefined } {
  const { primary, canary, phase, startedAt: started, deadline: ends } = placement;
  assert.deepEqual([canary, phase, started, ends], [undefined, "RUNNING", undefined, undefined]);
  assert.deepEqual([primary.capacity, primary.traffic], [null, 100]);
  return { primary: primary.name, leaving: placement.leaving?.name };
}

describe("placement of a first deploy", () => {
  it("is the primary alone, unconstrained, on a cluster named after the version", () => {
    const placement = placing({}, v1, undefined);
    assert.deepEqual(alone(placement), { primary: "v1", leaving: undefined });
    assert.equal(placement.primary.cluster, "v1");
    assert.deepEqual(placement.notices, []);
  });

  it("says which settings have nothing to work on, a canary percent of 0 too", () => {
    const placement = placing({ canaryPercent: 0, maxSurgePercent: 50, inPlace: false }, v1, undefined);
    assert.deepEqual(alone(placement), { primary: "v1", leaving: undefined });
    assert.deepEqual(placement.notices, [
      "first deploy: there is nothing to roll out from, canaryPercent and maxSurgePercent ignored",
    ]);
    assert.match(placing({ inPlace: true }, v1, undefined).notices.join(), /from, inPlace ignored$/);
  });
});

describe("placement of the recorded version", () => {
  it("changes nothing: the record stays as it is, whatever else is set", () => {
    for (const settings of [{}, { canaryPercent: 10 }, { maxSurgePercent: 50 }]) {
      const placement = placing(settings, v1, running);
      assert.deepEqual(alone(placement), { primary: "v1", leaving: undefined });
      assert.deepEqual(recordAfter(placement), running);
    }
  });

  it("is known by its content, not by its name", () => {
    const renamed: Version = { ...v1, name: "other" };
    assert.equal(alone(placing({}, renamed, running)).primary, "v1");
  });
});

describe("placement of a new version without canary percent", () => {
  it("is all traffic on the new version in one update, and the end of the old one", () => {
    const placement = placing({}, v2, running);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.order, "forward");
    assert.equal(placement.primary.cluster, "v2");
  });

  it("completes a held split", () => {
    assert.deepEqual(alone(placing({}, v2, rollingOut([100, 100, 10]))), { primary: "v2", leaving: "v1" });
  });

  it("is one update too under a surge of 100", () => {
    const placement = placing({ maxSurgePercent: 100 }, v2, running);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.surge, 100);
  });

  it("is refused under a surge that one update cannot keep", () => {
    const message = refusedWith("rayshift deploy", () => placing({ maxSurgePercent: 50 }, v2, running));
    assert.match(message, /^0% to 100% of the traffic takes more than one update under a surge of 50%/);
    assert.match(message, /exceed 150% of capacity/);
  });
});

describe("placement of a split", () => {
  for (const percent of [0, 1, 10, 99]) {
    it(`holds the canary at ${percent}%`, () => {
      const placement = placing({ canaryPercent: percent }, v2, running);
      assert.deepEqual(triple(placement), [null, 100, percent]);
      assert.deepEqual(
        [placement.phase, placement.order, placement.startedAt, placement.deadline, placement.surge],
        ["ROLLING_OUT", "forward", startedAt, deadline, undefined],
      );
      assert.equal(placement.primary.name, "v1");
      assert.equal(placement.canary?.name, "v2");
      assert.equal(placement.leaving, undefined);
    });
  }

  it("keeps the deadline of the config from the start of the rollout", () => {
    const first = placing({ canaryPercent: 0, rolloutTimeoutMinutes: 1.5 }, v2, running);
    assert.equal(first.deadline, "2026-01-31T12:01:30.000Z");
    const next = placing({ canaryPercent: 10 }, v2, recordAfter(first), new Date("2026-01-31T13:00:00Z"));
    assert.deepEqual([next.startedAt, next.deadline], [startedAt, deadline]);
  });

  it("changes nothing while the split is as recorded, with or without a surge", () => {
    for (const record of [rollingOut([100, 100, 10]), rollingOut([90, 10, 10], 50), rollingOut([100, 100, 0])]) {
      const percent = record.canary!.traffic;
      assert.deepEqual(recordAfter(placing({ canaryPercent: percent }, v2, record)), record);
    }
  });

  it("moves up", () => {
    const placement = placing({ canaryPercent: 50 }, v2, rollingOut([100, 100, 10]));
    assert.deepEqual(triple(placement), [null, 100, 50]);
    assert.equal(placement.order, "forward");
  });

  it("moves down with the primary receiving, and is still a split that is held", () => {
    const placement = placing({ canaryPercent: 10 }, v2, rollingOut([100, 100, 50]));
    assert.deepEqual(triple(placement), [null, 100, 10]);
    assert.deepEqual([placement.order, placement.phase], ["back", "ROLLING_OUT"]);
    const record = recordAfter(placement);
    assert.deepEqual(recordAfter(placing({ canaryPercent: 10 }, v2, record)), record);
  });

  it("moves down to 0 without ending the canary", () => {
    assert.deepEqual(triple(placing({ canaryPercent: 0 }, v2, rollingOut([100, 100, 50]))), [null, 100, 0]);
  });

  it("completes at 100", () => {
    for (const record of [running, rollingOut([100, 100, 10])]) {
      assert.deepEqual(alone(placing({ canaryPercent: 100 }, v2, record)), { primary: "v2", leaving: "v1" });
    }
  });

  it("completes at 100 where all traffic is on the canary already", () => {
    const placement = placing({ canaryPercent: 100 }, v2, rollingOut([0, 100, 100], 50));
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
  });
});

describe("placement of a split under a surge", () => {
  it("moves the capacities with the traffic", () => {
    const placement = placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, running);
    assert.deepEqual(triple(placement), [75, 25, 25]);
    assert.equal(placement.surge, 25);
  });

  it("starts as little as there is for a canary without traffic", () => {
    assert.deepEqual(triple(placing({ canaryPercent: 0, maxSurgePercent: 25 }, v2, running)), [null, 1, 0]);
  });

  it("goes on with the recorded surge where the config has none", () => {
    const record = rollingOut([75, 25, 25], 25);
    assert.deepEqual(triple(placing({ canaryPercent: 50 }, v2, record)), [50, 50, 50]);
    refusedWith("rayshift deploy", () => placing({ canaryPercent: 80 }, v2, record));
  });

  it("takes another surge from the config", () => {
    const placement = placing({ canaryPercent: 100, maxSurgePercent: 75 }, v2, rollingOut([75, 25, 25], 25));
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.surge, 75);
  });

  it("moves down, the primary growing within the surge", () => {
    assert.deepEqual(triple(placing({ canaryPercent: 10 }, v2, rollingOut([50, 50, 50], 50))), [90, 10, 10]);
    const message = refusedWith("rayshift deploy", () =>
      placing({ canaryPercent: 10 }, v2, rollingOut([50, 50, 50], 25)),
    );
    assert.match(message, /^50% to 10% of the traffic/);
  });

  it("is refused where one update cannot keep it", () => {
    const message = refusedWith("rayshift deploy", () =>
      placing({ canaryPercent: 50, maxSurgePercent: 25 }, v2, running),
    );
    assert.match(message, /^0% to 50% of the traffic .* surge of 25%: one alone would exceed 125%/);
  });

  it("completes in one update where what is left fits", () => {
    const record = rollingOut([50, 50, 50], 50);
    const placement = placing({}, v2, record);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.surge, 50);
    assert.equal(recordOf(placement).surge, undefined);
  });
});

describe("placement of the primary's version while a canary runs", () => {
  it("is a rollback in one update", () => {
    const placement = placing({}, v1, rollingOut([100, 100, 75]));
    assert.deepEqual(alone(placement), { primary: "v1", leaving: "v2" });
    assert.equal(placement.order, "back");
  });

  it("is one whatever canary percent the config still has", () => {
    assert.deepEqual(alone(placing({ canaryPercent: 75 }, v1, rollingOut([100, 100, 75]))), {
      primary: "v1",
      leaving: "v2",
    });
  });

  it("is one update under a surge that leaves the primary room to grow", () => {
    const placement = placing({}, v1, rollingOut([50, 50, 50], 50));
    assert.deepEqual(alone(placement), { primary: "v1", leaving: "v2" });
    assert.equal(placement.surge, 50);
  });

  it("is refused under a smaller surge", () => {
    for (const settings of [{}, { maxSurgePercent: 25 }]) {
      const message = refusedWith("rayshift rollback", () => placing(settings, v1, rollingOut([50, 50, 50], 25)));
      assert.match(message, /^back from 50% of the traffic takes more than one update under a surge of 25%/);
    }
  });

  it("ends in the state that was before the rollout", () => {
    const during = recordAfter(placing({ canaryPercent: 50 }, v2, running));
    assert.equal(during.digest, running.digest);
    assert.deepEqual(recordAfter(placing({}, v1, during)), running);
  });

  it("ends in another state than a promotion", () => {
    assert.notEqual(recordAfter(placing({}, v2, running)).digest, running.digest);
  });
});

describe("placement of a third version during a rollout", () => {
  it("is refused", () => {
    const message = refusedWith("rayshift deploy", () => placing({}, v3, rollingOut([100, 100, 10])));
    assert.match(message, /^version v3 is wanted while version v2 rolls out over v1/);
  });
});

describe("placement of a used version name with another spec", () => {
  const reused: Version = { ...v3, name: "v1" };

  it("is refused: of the primary", () => {
    assert.match(
      refusedWith("version_name", () => placing({}, reused, running)),
      /^version_name v1 is the name of a version that runs with another spec/,
    );
  });

  it("is refused: of the canary, and for a waypoint or in place too", () => {
    const record = rollingOut([100, 100, 10]);
    refusedWith("version_name", () => placing({}, { ...v3, name: "v2" }, record));
    refusedWith("version_name", () => placing({ waypoint: waypointConfig() }, { ...v3, name: "v2" }, record));
    refusedWith("version_name", () => placing({ inPlace: true }, reused, running));
  });

  it("is allowed for a name that nothing has any more", () => {
    const promoted = recordAfter(placing({}, v2, running));
    assert.equal(alone(placing({}, reused, promoted)).primary, "v1");
  });
});

describe("placement of an in-place update", () => {
  it("gives the primary's cluster the new version", () => {
    const placement = placing({ inPlace: true }, v2, running);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: undefined });
    assert.equal(placement.primary.cluster, "v1");
    assert.deepEqual(placement.primary.spec, v2.spec);
  });

  it("changes nothing when the version is the recorded one", () => {
    assert.deepEqual(recordAfter(placing({ inPlace: true }, v1, running)), running);
  });

  it("is refused while a canary runs", () => {
    const message = refusedWith("rayshift rollback", () => placing({ inPlace: true }, v3, rollingOut([100, 100, 10])));
    assert.match(message, /^an in-place update of v1 is refused while v2 rolls out.*`rayshift deploy`/);
  });

  it("is refused when other keys changed, naming them", () => {
    const changed = version("v2", { env_vars: { A: "1" }, ray_version: "2.60.0" });
    const message = refusedWith("inPlace", () => placing({ inPlace: true }, changed, running));
    assert.match(message, /but `env_vars`, `ray_version` changed as well/);
  });

  it("is refused when the working directory holds something else", () => {
    const files = { source: "/code", excludes: [] };
    const before: RolloutRecord = {
      ...running,
      primary: { ...running.primary, workingDirectory: { ...files, digest: "a".repeat(64) } },
    };
    const changed: Version = { ...v2, workingDirectory: { ...files, digest: "b".repeat(64) } };
    assert.match(
      refusedWith("inPlace", () => placing({ inPlace: true }, changed, before)),
      /but `working_dir` changed/,
    );
  });

  it("leaves its old cluster name to no other version's cluster", () => {
    const after = recordAfter(placing({ inPlace: true }, v2, running));
    const back = placing({ canaryPercent: 10 }, v1, after);
    assert.equal(back.canary?.name, "v1");
    assert.notEqual(back.canary?.cluster, after.primary.cluster);
    const promoted = recordAfter(placing({}, v1, recordAfter(back)));
    assert.equal(promoted.primary.cluster, back.canary?.cluster);
  });
});

function waypointConfig(changes: Partial<ConfiguredWaypoint> = {}): ConfiguredWaypoint {
  return {
    primary: "v1",
    canary: "v2",
    primaryCapacity: 75,
    canaryCapacity: 25,
    canaryTraffic: 25,
    direction: "forward",
    startedAt,
    surge: 25,
    ...changes,
  };
}

describe("placement of a waypoint of the driver", () => {
  it("starts the canary at exactly that waypoint", () => {
    const placement = placing({ waypoint: waypointConfig() }, v2, running);
    assert.deepEqual(triple(placement), [75, 25, 25]);
    assert.deepEqual(
      [placement.phase, placement.order, placement.surge, placement.startedAt, placement.deadline],
      ["ROLLING_OUT", "forward", 25, startedAt, deadline],
    );
    assert.equal(placement.canary?.cluster, "v2");
  });

  it("counts before canary percent and surge of the config", () => {
    const placement = placing({ waypoint: waypointConfig(), canaryPercent: 90, maxSurgePercent: 100 }, v2, running);
    assert.deepEqual([triple(placement), placement.surge], [[75, 25, 25], 25]);
  });

  it("takes the traffic to 100% without ending the old version", () => {
    const waypoint = waypointConfig({ primaryCapacity: 0, canaryCapacity: 100, canaryTraffic: 100 });
    assert.deepEqual(triple(placing({ waypoint }, v2, rollingOut([25, 75, 75], 25))), [0, 100, 100]);
  });

  it("leaves a whole primary unconstrained", () => {
    const waypoint = waypointConfig({ primaryCapacity: 100, canaryCapacity: 25 });
    assert.deepEqual(triple(placing({ waypoint }, v2, running)), [null, 25, 25]);
  });

  it("goes back: the primary receives, and the canary stays until the update after the last waypoint", () => {
    const back = waypointConfig({ direction: "back" });
    const placement = placing({ waypoint: back }, v1, rollingOut([50, 50, 50], 25));
    assert.deepEqual(triple(placement), [75, 25, 25]);
    assert.deepEqual([placement.phase, placement.order], ["ROLLING_BACK", "back"]);
    const last = waypointConfig({ direction: "back", primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0 });
    const whole = placing({ waypoint: last }, v1, recordAfter(placement));
    assert.deepEqual(triple(whole), [null, 0, 0]);
    assert.deepEqual(alone(placing({}, v1, recordAfter(whole))), { primary: "v1", leaving: "v2" });
  });

  it("goes back to a lower split without becoming a rollback", () => {
    const placement = placing(
      { waypoint: waypointConfig({ direction: "back" }), canaryPercent: 25 },
      v2,
      rollingOut([50, 50, 50], 25),
    );
    assert.deepEqual([placement.phase, placement.order], ["ROLLING_OUT", "back"]);
  });

  it("goes back at once: no order, the primary unconstrained, the canary gone", () => {
    const waypoint = waypointConfig({
      direction: "back",
      primaryCapacity: 100,
      canaryCapacity: 0,
      canaryTraffic: 0,
      immediate: true,
    });
    const placement = placing({ waypoint }, v1, rollingOut([25, 75, 75], 50));
    assert.deepEqual(alone(placement), { primary: "v1", leaving: "v2" });
    assert.equal(placement.order, "concurrent");
    assert.deepEqual(recordAfter(placement), running);
  });

  it("is over when its canary is gone and the primary's version is wanted", () => {
    assert.deepEqual(recordAfter(placing({ waypoint: waypointConfig({ direction: "back" }) }, v1, running)), running);
  });

  const foreign: Array<[string, Partial<ConfiguredWaypoint>, Version, RolloutRecord]> = [
    ["of another primary", { primary: "v0" }, v2, running],
    ["of another canary than the one that runs", { canary: "v3" }, v2, rollingOut([75, 25, 25], 25)],
    ["of another canary than the one that is wanted", { canary: "v3" }, v2, running],
    ["while a third version is wanted", {}, v3, rollingOut([75, 25, 25], 25)],
    ["of versions that changed places", { primary: "v2", canary: "v1" }, v2, rollingOut([75, 25, 25], 25)],
    ["of another rollout, going back at once", { canary: "v3", immediate: true }, v1, rollingOut([75, 25, 25], 25)],
  ];
  for (const [what, changes, wanted, record] of foreign) {
    it(`is refused ${what}`, () => {
      const message = refusedWith("pulumi config rm rayshift:waypoint", () =>
        placing({ waypoint: waypointConfig(changes) }, wanted, record),
      );
      assert.match(message, /but the stack runs v1.*`rayshift deploy` or `rayshift rollback`/);
    });
  }

  it("is refused above its surge, and with more traffic than capacity, naming the reason", () => {
    const total = refusedWith("rayshift deploy", () =>
      placing({ waypoint: waypointConfig({ primaryCapacity: 100, canaryCapacity: 30 }) }, v2, running),
    );
    assert.match(total, /100% \(primary\) \+ 30% \(canary\) = 130%, more than 125%/);
    const traffic = refusedWith("rayshift deploy", () =>
      placing({ waypoint: waypointConfig({ canaryCapacity: 20 }) }, v2, running),
    );
    assert.match(traffic, /the canary would get 25% of the traffic at 20% capacity/);
  });
});

describe("recordOf", () => {
  it("goes through the stack's JSON unchanged", () => {
    const compute = { head_node: { resources: { CPU: 4 } }, worker_nodes: [{ name: "gpu", resources: { CPU: 1 } }] };
    const rich: Version = {
      ...v2,
      spec: spec({ version_name: "v2", compute_config: compute, env_vars: { A: "1" } }),
      workingDirectory: { source: "/code", digest: "a".repeat(64), excludes: ["*.md"] },
    };
    for (const placement of [
      placing({}, rich, undefined),
      placing({ canaryPercent: 0, maxSurgePercent: 50 }, rich, running),
      placing({ canaryPercent: 30, maxSurgePercent: 50 }, rich, running),
    ]) {
      const plain = JSON.parse(JSON.stringify(recordOf(placement)));
      assert.deepEqual(JSON.parse(JSON.stringify(parseRecord(plain))), plain);
      assert.deepEqual((placement.canary ?? placement.primary).workingDirectory, rich.workingDirectory);
      assert.deepEqual(waypointOf(parseRecord(plain)!), waypointOf(recordOf(placement)));
    }
  });
});

describe("waypointOf", () => {
  it("counts an unconstrained cluster as 100%, and a cluster that is not there as 0", () => {
    assert.deepEqual(waypointOf(running), { primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0 });
    assert.deepEqual(waypointOf(rollingOut([100, 0, 0])), {
      primaryCapacity: 100,
      canaryCapacity: 0,
      canaryTraffic: 0,
    });
    const unconstrained = {
      ...rollingOut([100, 1, 0]),
      canary: { ...rollingOut([100, 1, 0]).canary!, capacity: null },
    };
    assert.equal(waypointOf(unconstrained).canaryCapacity, 100);
  });
});

/** Every reason why an instant is not safe; written without the project's own rules. */
function dangers(at: Waypoint, most: number): string[] {
  const { primaryCapacity: primary, canaryCapacity: canary, canaryTraffic: traffic } = at;
  return [
    traffic > canary ? `I1: the canary has ${canary} for ${traffic}` : [],
    100 - traffic > primary ? `I1: the primary has ${primary} for ${100 - traffic}` : [],
    primary + canary > most ? `I2: ${primary} + ${canary} > ${most}` : [],
  ].flat();
}

/** Every instant after the first one, up to the moment before a cluster is ended. */
function dangersOnTheWay(recorded: RolloutRecord, placement: Placement): string[] {
  const from = waypointOf(recorded);
  // A surge that was lowered may be exceeded by what runs already; nothing may add to that.
  const most = Math.max(100 + (placement.surge ?? 100), from.primaryCapacity + from.canaryCapacity);
  return traversed(from, endOf(placement, recorded))
    .slice(1)
    .flatMap((instant) => dangers(instant, most));
}

const percent = fc.integer({ min: 0, max: 100 });
const surges = fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined });

/** Any safe state of a rollout, or v1 alone. */
const records: fc.Arbitrary<RolloutRecord> = fc.oneof(
  fc.constant(running),
  fc
    .record({ canaryTraffic: percent, more: percent, room: percent, surge: surges, back: fc.boolean() })
    .map(({ canaryTraffic, more, room, surge, back }) => {
      const canaryCapacity = Math.min(100, canaryTraffic + more);
      const most = Math.min(100, 100 + (surge ?? 100) - canaryCapacity);
      const primaryCapacity = Math.min(most, 100 - canaryTraffic + room);
      const record = rollingOut(
        [primaryCapacity, Math.min(canaryCapacity, 100 + (surge ?? 100)), canaryTraffic],
        surge,
      );
      return back ? { ...record, phase: "ROLLING_BACK" as const } : record;
    })
    .filter((record) => dangers(waypointOf(record), 100 + (record.surge ?? 100)).length === 0),
);

const settings: fc.Arbitrary<Partial<StackConfig>> = fc
  .record({ canaryPercent: fc.option(percent, { nil: undefined }), maxSurgePercent: surges })
  .map(({ canaryPercent, maxSurgePercent }) => ({
    ...(canaryPercent === undefined ? {} : { canaryPercent }),
    ...(maxSurgePercent === undefined ? {} : { maxSurgePercent }),
  }));

function unlessRefused(run: () => Placement): Placement | undefined {
  try {
    return run();
  } catch (error) {
    assert.ok(Refusal.isInstance(error), String(error));
    assert.match(error.message, /Nothing was changed\.$/);
    return undefined;
  }
}

describe("every placement", () => {
  const anyPlacement = (check: (placement: Placement, recorded: RolloutRecord, wanted: Version) => void) =>
    fc.assert(
      fc.property(records, settings, fc.constantFrom(v1, v2, v3), (recorded, changes, wanted) => {
        const placement = unlessRefused(() => placing(changes, wanted, recorded));
        if (placement !== undefined) check(placement, recorded, wanted);
      }),
      { numRuns: 3000 },
    );

  it("is safe at every instant on the way, or is refused", () => {
    anyPlacement((placement, recorded) => assert.deepEqual(dangersOnTheWay(recorded, placement), []));
  });

  it("gives out all of the traffic", () => {
    anyPlacement(({ primary, canary }) => assert.equal(primary.traffic + (canary?.traffic ?? 0), 100));
  });

  it("leaves a record that the same config does not change any more", () => {
    fc.assert(
      fc.property(records, settings, fc.constantFrom(v1, v2), (recorded, changes, wanted) => {
        const placement = unlessRefused(() => placing(changes, wanted, recorded));
        if (placement === undefined) return;
        const record = recordAfter(placement);
        assert.deepEqual(recordAfter(placing(changes, wanted, record)), record);
      }),
      { numRuns: 3000 },
    );
  });

  it("never runs another version than those recorded and the one wanted, and loses none silently", () => {
    anyPlacement(({ primary, canary, leaving }, recorded, wanted) => {
      const after = [primary, canary, leaving].map((placed) => placed?.name).filter((name) => name !== undefined);
      const before = [recorded.primary.name, recorded.canary?.name].filter((name) => name !== undefined);
      assert.deepEqual(
        after.sort(),
        [...new Set([...before, wanted.name])].sort(),
        `before ${before}, wanted ${wanted.name}`,
      );
    });
  });

  it("starts from nothing that the record does not say: one waypoint of a walk is safe as well", () => {
    fc.assert(
      fc.property(records, surges, percent, fc.boolean(), (recorded, surge, traffic, back) => {
        const from = waypointOf(recorded);
        const goal = back ? { kind: "rollback" as const, surge } : { kind: "split" as const, traffic, surge };
        const direction = back || from.canaryTraffic > traffic ? "back" : "forward";
        const waypoint = waypointConfig({ ...nextWaypoint(from, goal), direction });
        const { surge: _, ...unlimited } = waypoint;
        const placement = placing({ waypoint: surge === undefined ? unlimited : { ...waypoint, surge } }, v2, recorded);
        assert.deepEqual(endOf(placement, recorded), nextWaypoint(from, goal));
        assert.deepEqual(dangersOnTheWay(recorded, placement), []);
      }),
      { numRuns: 2000 },
    );
  });
});
