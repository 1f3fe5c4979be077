import assert from "node:assert/strict";
import * as plan from "../../rollout/plan";
import { at, rollback, split, surges, triple, walked } from "./planForTests";

describe("a rollout under a surge", () => {
  it("of 50 walks as the seed describes", () => {
    assert.deepEqual(walked(plan.primaryOnly, split(100, 50)), [
      [50, 50, 50],
      [0, 100, 100],
    ]);
  });

  it("of 25 moves a quarter an update", () => {
    assert.deepEqual(walked(plan.primaryOnly, split(100, 25)), [
      [75, 25, 25],
      [50, 50, 50],
      [25, 75, 75],
      [0, 100, 100],
    ]);
  });

  it("that does not divide 100 ends with a smaller update", () => {
    assert.deepEqual(walked(plan.primaryOnly, split(100, 40)), [
      [60, 40, 40],
      [20, 80, 80],
      [0, 100, 100],
    ]);
  });

  it("holds with no more capacity than the traffic needs, raised and lowered", () => {
    assert.deepEqual(walked(plan.primaryOnly, split(10, 25)), [[90, 10, 10]]);
    assert.deepEqual(walked(at(90, 10, 10), split(60, 25)), [
      [65, 35, 35],
      [40, 60, 60],
    ]);
    assert.deepEqual(walked(at(40, 60, 60), split(10, 25)), [
      [65, 35, 35],
      [90, 10, 10],
    ]);
  });

  it("holds a running canary at 0%", () => {
    for (const surge of surges) {
      assert.deepEqual(walked(plan.primaryOnly, split(0, surge)), [[100, 1, 0]]);
      assert.deepEqual(walked(at(100, 1, 0), split(0, surge)), []);
    }
    assert.deepEqual(walked(at(90, 10, 10), split(0, 25)), [[100, 1, 0]]);
  });

  it("rolls back by waypoints once the primary was shrunk", () => {
    assert.deepEqual(walked(at(0, 100, 100), rollback(50)), [
      [50, 50, 50],
      [100, 0, 0],
    ]);
    assert.deepEqual(walked(at(50, 50, 50), rollback(25)), [
      [75, 25, 25],
      [100, 0, 0],
    ]);
  });

  it("rolls back in one update while the primary is whole", () => {
    assert.deepEqual(walked(at(100, 50, 50), rollback(1)), [[100, 0, 0]]);
  });

  it("lowered below the present total first takes what is idle, then grows the primary", () => {
    assert.deepEqual(walked(at(50, 100, 50), rollback(25)), [
      [50, 50, 50],
      [75, 25, 25],
      [100, 0, 0],
    ]);
  });

  it("given to a rollout that had none gives up the excess at once and goes on in its steps", () => {
    assert.deepEqual(walked(at(100, 100, 10), split(100, 40)), [
      [60, 40, 40],
      [20, 80, 80],
      [0, 100, 100],
    ]);
    assert.deepEqual(walked(at(100, 100, 60), split(60, 25)), [[40, 60, 60]]);
  });

  it("finishes an update that was interrupted after its shift", () => {
    assert.deepEqual(walked(at(50, 100, 100), split(100, 50)), [[0, 100, 100]]);
    assert.deepEqual(walked(at(100, 10, 10), split(10, 25)), [[90, 10, 10]]);
  });
});

describe("a rollout without a surge", () => {
  it("keeps both clusters whole and walks the ladder, the canary healthy before it gets traffic", () => {
    assert.deepEqual(
      walked(plan.primaryOnly, split(100)),
      [0, 5, 10, 20, 30, 50, 75, 100].map((traffic) => [100, 100, traffic]),
    );
  });

  it("stops at the split asked for, on a rung or between two", () => {
    assert.deepEqual(walked(plan.primaryOnly, split(0)), [[100, 100, 0]]);
    assert.deepEqual(walked(plan.primaryOnly, split(7)), [
      [100, 100, 0],
      [100, 100, 5],
      [100, 100, 7],
    ]);
    assert.deepEqual(walked(at(100, 100, 7), split(20)), [
      [100, 100, 10],
      [100, 100, 20],
    ]);
  });

  it("goes back at once", () => {
    assert.deepEqual(walked(at(100, 100, 75), rollback()), [[100, 0, 0]]);
    assert.deepEqual(walked(at(100, 100, 75), split(10)), [[100, 100, 10]]);
    assert.deepEqual(walked(at(100, 100, 0), rollback()), [[100, 0, 0]]);
  });

  it("makes both clusters whole again when the surge was dropped on the way", () => {
    assert.deepEqual(walked(at(50, 50, 50), split(75)), [[100, 100, 75]]);
    assert.deepEqual(walked(at(50, 50, 50), rollback()), [[100, 0, 0]]);
  });
});

describe("directionOf", () => {
  it("is back for a rollback and for a lower split, else forward", () => {
    assert.equal(plan.directionOf(at(50, 50, 50), rollback()), "back");
    assert.equal(plan.directionOf(plan.primaryOnly, rollback()), "back");
    assert.equal(plan.directionOf(at(50, 50, 50), split(49)), "back");
    assert.equal(plan.directionOf(at(50, 50, 50), split(50)), "forward");
    assert.equal(plan.directionOf(plan.primaryOnly, split(0)), "forward");
  });
});

describe("isComplete", () => {
  it("is true only where the losing cluster has no traffic and the winner is whole", () => {
    assert.equal(plan.isComplete(at(0, 100, 100), split(100, 50)), true);
    assert.equal(plan.isComplete(at(100, 100, 100), split(100)), true);
    assert.equal(plan.isComplete(at(50, 100, 100), split(100, 50)), false);
    assert.equal(plan.isComplete(at(50, 50, 50), split(100, 50)), false);
    assert.equal(plan.isComplete(plan.primaryOnly, rollback(50)), true);
    assert.equal(plan.isComplete(at(100, 50, 0), rollback(50)), false);
  });

  it("is never true for a hold", () => {
    assert.equal(plan.isComplete(at(90, 10, 10), split(10, 50)), false);
    assert.equal(plan.isComplete(plan.primaryOnly, split(0, 50)), false);
  });
});

describe("effects", () => {
  it("grow the canary, shift, then shrink the primary on the way forward", () => {
    assert.deepEqual(plan.effects(at(50, 50, 50), at(0, 100, 100)), [
      { step: "grow", role: "canary", from: 50, to: 100 },
      { step: "shift", from: 50, to: 100 },
      { step: "shrink", role: "primary", from: 50, to: 0 },
    ]);
  });

  it("grow the primary, shift, then shrink the canary on the way back", () => {
    assert.deepEqual(plan.effects(at(50, 50, 50), at(100, 0, 0)), [
      { step: "grow", role: "primary", from: 50, to: 100 },
      { step: "shift", from: 50, to: 0 },
      { step: "shrink", role: "canary", from: 50, to: 0 },
    ]);
  });

  it("are none between equal waypoints", () => {
    assert.deepEqual(plan.effects(at(50, 50, 50), at(50, 50, 50)), []);
    assert.deepEqual(plan.traversed(at(50, 50, 50), at(50, 50, 50)), [at(50, 50, 50)]);
  });

  it("pass every instant up to the waypoint", () => {
    assert.deepEqual(plan.traversed(at(50, 50, 50), at(0, 100, 100)).map(triple), [
      [50, 50, 50],
      [50, 100, 50],
      [50, 100, 100],
      [0, 100, 100],
    ]);
  });
});

describe("check", () => {
  it("names every cluster that would get more traffic than its capacity", () => {
    assert.deepEqual(plan.check(at(40, 40, 50)), [
      { invariant: "I1", message: "the primary would get 50% of the traffic at 40% capacity" },
      { invariant: "I1", message: "the canary would get 50% of the traffic at 40% capacity" },
    ]);
    assert.deepEqual(plan.check(at(50, 50, 50)), []);
  });

  it("names a total beyond the surge, and only then", () => {
    assert.deepEqual(plan.check(at(100, 26, 10), 25), [
      { invariant: "I2", message: "the capacities would be 100% (primary) + 26% (canary) = 126%, more than 125%" },
    ]);
    assert.deepEqual(plan.check(at(100, 25, 10), 25), []);
    assert.deepEqual(plan.check(at(100, 100, 10)), []);
  });

  it("names values that are no percent", () => {
    assert.deepEqual(
      plan.check(at(100.5, 101, -1)).map((problem) => problem.message),
      [
        "primaryCapacity is 100.5; it has to be an integer from 0 to 100",
        "canaryCapacity is 101; it has to be an integer from 0 to 100",
        "canaryTraffic is -1; it has to be an integer from 0 to 100",
      ],
    );
  });
});

describe("canReachInOneUpdate", () => {
  it("allows a split that fits into the surge and refuses one that does not, with the reason", () => {
    assert.equal(plan.canReachInOneUpdate(plan.primaryOnly, at(75, 25, 25), 25), true);
    assert.equal(plan.canReachInOneUpdate(plan.primaryOnly, at(50, 50, 50), 25), false);
    assert.deepEqual(plan.problemsOfUpdate(plan.primaryOnly, at(50, 50, 50), 25), [
      { invariant: "I2", message: "the capacities would be 100% (primary) + 50% (canary) = 150%, more than 125%" },
    ]);
  });

  it("allows any split without a surge", () => {
    for (let traffic = 0; traffic <= 100; traffic++) {
      assert.equal(plan.canReachInOneUpdate(plan.primaryOnly, at(100, 100, traffic)), true);
    }
  });

  it("refuses a target with more traffic than capacity, naming each reason once", () => {
    assert.deepEqual(
      plan.problemsOfUpdate(plan.primaryOnly, at(100, 10, 20), 25).map((problem) => problem.message),
      ["the canary would get 20% of the traffic at 10% capacity"],
    );
  });

  it("refuses to grow the primary beside a canary that fills a lowered surge, but lets the canary shrink", () => {
    assert.equal(plan.canReachInOneUpdate(at(50, 100, 50), at(75, 25, 25), 25), false);
    assert.equal(plan.canReachInOneUpdate(at(50, 100, 50), at(50, 50, 50), 25), true);
    assert.equal(plan.canReachInOneUpdate(at(50, 100, 50), at(50, 90, 50), 25), false);
  });

  it("allows an update that starts beyond a lowered surge and ends within it without growing", () => {
    assert.equal(plan.canReachInOneUpdate(at(100, 100, 10), at(75, 25, 25), 25), true);
    assert.equal(plan.canReachInOneUpdate(at(100, 100, 10), at(75, 60, 25), 25), false);
  });

  it("allows every update of every walk", () => {
    for (const surge of [...surges, undefined]) {
      for (const [start, goal] of [
        [plan.primaryOnly, split(100, surge)],
        [at(0, 100, 100), rollback(surge)],
      ] as const) {
        let from = start;
        for (const to of plan.walk(start, goal)) {
          assert.deepEqual(plan.problemsOfUpdate(from, to, surge), [], `[${triple(from)}] -> [${triple(to)}]`);
          from = to;
        }
      }
    }
  });
});

describe("planSummary", () => {
  it("gives peak capacity and rollback speed of every update", () => {
    const summary = plan.planSummary(plan.primaryOnly, split(100, 50));
    assert.deepEqual(
      summary.updates.map((u) => [triple(u.waypoint), u.peakCapacity, u.rollbackSpeed, u.rollbackUpdates]),
      [
        [[50, 50, 50], 150, "capacity-following", 1],
        [[0, 100, 100], 150, "capacity-following", 2],
      ],
    );
    assert.equal(summary.peakCapacity, 150);
    assert.equal(summary.completes, true);
    assert.deepEqual(summary.updates[0]!.effects, plan.effects(plan.primaryOnly, at(50, 50, 50)));
  });

  it("says that traffic returns first while the primary is whole", () => {
    const summary = plan.planSummary(plan.primaryOnly, split(100));
    assert.deepEqual(new Set(summary.updates.map((update) => update.rollbackSpeed)), new Set(["traffic-first"]));
    assert.deepEqual(new Set(summary.updates.map((update) => update.rollbackUpdates)), new Set([1]));
    assert.equal(summary.peakCapacity, 200);
  });

  it("is empty where nothing is left to do, and a hold does not complete", () => {
    const summary = plan.planSummary(at(90, 10, 10), split(10, 50));
    assert.deepEqual(summary, { updates: [], peakCapacity: 100, completes: false });
  });
});
