import assert from "node:assert/strict";
import fc from "fast-check";
import { type Placement, Refusal, waypointOf } from "../../components/placement";
import type { RolloutRecord, Version } from "../../components/record";
import type { StackConfig } from "../../components/stackConfig";
import { nextWaypoint, traversed, type Waypoint } from "../../rollout/plan";
import { endOf, placing, recordAfter, rollingOut, running, v1, v2, v3 } from "./builders";
import { waypointConfig } from "./placementForTests";

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
