import assert from "node:assert/strict";
import fc from "fast-check";
import type { Goal, Waypoint } from "../../rollout/plan";
import * as plan from "../../rollout/plan";
import { at, holds, key, otherSurges, rollback, split, surges, trafficOf, triple } from "./planForTests";

/** The invariants, written down apart from the code under test. */
function isSafe({ primaryCapacity: p, canaryCapacity: c, canaryTraffic: w }: Waypoint): boolean {
  return [p, c, w].every(Number.isInteger) && w >= 0 && w <= c && c <= 100 && 100 - w <= p && p <= 100;
}

function fail(what: string, from: Waypoint, to: Waypoint, goal: Goal): never {
  assert.fail(`${what}: [${triple(from)}] -> [${triple(to)}] for ${JSON.stringify(goal)}`);
}

/** One update: safe at every instant, never away from the goal, never beyond the surge but where it was before. */
function safeUpdate(from: Waypoint, goal: Goal): Waypoint {
  const to = plan.nextWaypoint(from, goal);
  const most = 100 + (goal.surge ?? 100);
  let total = from.primaryCapacity + from.canaryCapacity;
  for (const instant of plan.traversed(from, to)) {
    if (!isSafe(instant)) {
      fail(`unsafe at [${triple(instant)}]`, from, to, goal);
    }
    const now = instant.primaryCapacity + instant.canaryCapacity;
    if (now > total && now > most) {
      fail(`grows beyond ${most}% at [${triple(instant)}]`, from, to, goal);
    }
    total = now;
  }
  if (total > most) {
    fail(`ends beyond ${most}%`, from, to, goal);
  }
  const [before, now, wanted] = [from.canaryTraffic, to.canaryTraffic, trafficOf(goal)];
  if (Math.min(before, wanted) > now || now > Math.max(before, wanted)) {
    fail("traffic away from the goal", from, to, goal);
  }
  return to;
}

/** Walks to the end with every check; calls `instant` for all that it passes. Returns the number of updates. */
function safeWalk(start: Waypoint, goal: Goal, instant: (w: Waypoint) => void = () => {}): number {
  let from = start;
  for (let updates = 0; ; updates++) {
    const to = safeUpdate(from, goal);
    for (const passed of plan.traversed(from, to)) {
      instant(passed);
    }
    if (plan.equal(from, to)) {
      if (!plan.equal(to, plan.destinationOf(goal))) {
        fail("stuck", start, to, goal);
      }
      return updates;
    }
    if (updates >= 101) {
      fail("more than 101 updates", start, to, goal);
    }
    from = to;
  }
}

function instantsOf(start: Waypoint, goal: Goal): Waypoint[] {
  const seen = new Map<number, Waypoint>();
  safeWalk(start, goal, (w) => seen.set(key(w), w));
  return [...seen.values()];
}

/** Every safe triple, reachable or not. */
function everySafeState(): Waypoint[] {
  const states: Waypoint[] = [];
  for (let traffic = 0; traffic <= 100; traffic++) {
    for (let primary = 100 - traffic; primary <= 100; primary++) {
      for (let canary = traffic; canary <= 100; canary++) {
        states.push(at(primary, canary, traffic));
      }
    }
  }
  return states;
}

/** Checks the walk from every state, each update once; fails when one needs more than 101 updates. */
function checkFromEverywhere(states: readonly Waypoint[], goal: Goal): void {
  const updatesLeft = new Int16Array(101 ** 3).fill(-1);
  updatesLeft[key(plan.destinationOf(goal))] = 0;
  for (const start of states) {
    const path: number[] = [];
    let here = start;
    while (updatesLeft[key(here)] === -1) {
      path.push(key(here));
      const next = safeUpdate(here, goal);
      if (plan.equal(next, here) || path.length > 101) {
        fail("stuck", start, here, goal);
      }
      here = next;
    }
    let left = updatesLeft[key(here)]!;
    for (const passed of path.reverse()) {
      updatesLeft[passed] = ++left;
    }
    if (left > 101) {
      fail(`${left} updates`, start, here, goal);
    }
  }
}

describe("every walk", function () {
  this.timeout(20_000);

  it("is safe, ends and goes one way: forward under every surge, and back or on from every instant it passes", () => {
    for (const surge of surges) {
      for (const traffic of [...holds, 100]) {
        for (const instant of instantsOf(plan.primaryOnly, split(traffic, surge))) {
          safeWalk(instant, rollback(surge));
        }
      }
      const forward = instantsOf(plan.primaryOnly, split(100, surge));
      for (const instant of forward.filter((_, i) => surge > 5 || i % 9 === 0)) {
        for (const other of otherSurges) {
          safeWalk(instant, rollback(other));
          safeWalk(instant, split(100, other));
        }
        for (const hold of holds) {
          safeWalk(instant, split(hold, surge));
        }
      }
    }
  });

  it("goes forward again from every instant of a rollback, under every surge", () => {
    for (const surge of surges) {
      for (const instant of instantsOf(at(0, 100, 100), rollback(surge))) {
        safeWalk(instant, split(100, surge));
      }
    }
  });

  for (const surge of [undefined, 1, 33, 100]) {
    it(`is safe and ends from every safe state there is, ${surge ? `under a surge of ${surge}` : "without a surge"}`, () => {
      const states = everySafeState();
      for (const goal of [rollback(surge), ...[0, 50, 100].map((traffic) => split(traffic, surge))]) {
        checkFromEverywhere(states, goal);
      }
    });
  }

  it("stays safe when goal and surge change at any instant, again and again", () => {
    const surge = fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined });
    const goal: fc.Arbitrary<Goal> = fc.oneof(
      fc.record({ kind: fc.constant("rollback" as const), surge }),
      fc.record({ kind: fc.constant("split" as const), traffic: fc.integer({ min: 0, max: 100 }), surge }),
    );
    const leg = fc.record({ goal, interruptedAfter: fc.nat({ max: 30 }) });
    fc.assert(
      fc.property(fc.array(leg, { minLength: 1, maxLength: 8 }), (legs) => {
        let here = plan.primaryOnly;
        for (const { goal, interruptedAfter } of legs) {
          const instants = instantsOf(here, goal);
          here = instants[Math.min(interruptedAfter, instants.length - 1)]!;
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("needs 100 updates under a surge of 1", () => {
    assert.equal(plan.walk(plan.primaryOnly, split(100, 1)).length, 100);
    assert.equal(plan.walk(at(0, 100, 100), rollback(1)).length, 100);
  });
});
