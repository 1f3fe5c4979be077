import assert from "node:assert/strict";
import type { Change } from "../../../provider/serve/changes";
import { planLines } from "../../../rollout/cli/planLines";
import type { RolloutPlan } from "../../../rollout/planCommand";

const waypoint = { primaryCapacity: 100, canaryCapacity: 50, canaryTraffic: 10 };

describe("planLines", () => {
  const rollout: RolloutPlan = {
    kind: "rollout",
    version: "v2",
    from: { primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0 },
    back: [],
    waypoints: [
      {
        waypoint,
        effects: [],
        peakCapacity: 150,
        rollbackSpeed: "traffic-first",
        rollbackUpdates: 1,
        peakReplicas: { least: 6, most: 6 },
      },
      {
        waypoint: { primaryCapacity: 0, canaryCapacity: 100, canaryTraffic: 100 },
        effects: [],
        peakCapacity: 150,
        rollbackSpeed: "capacity-following",
        rollbackUpdates: 3,
        peakReplicas: { least: 8, most: 8 },
      },
    ],
    peakCapacity: 150,
    peakReplicas: { least: 8, most: 8 },
    peakGpus: { least: 4, most: 4 },
    completes: true,
    notices: ["`tags`: without effect"],
  };

  it("of a rollout have a line for each waypoint with its way back, the end, and the peaks", () => {
    assert.deepEqual(planLines(rollout), [
      "note: `tags`: without effect",
      "roll out v2 from primary 100% capacity, canary 0% capacity and 0% traffic:",
      "  1  primary 100% capacity, canary 50% capacity and 10% traffic; up to 6 replicas; back at once",
      "  2  primary 0% capacity, canary 100% capacity and 100% traffic; up to 8 replicas; back by waypoints, 3 updates",
      "  3  v2 is the primary, the old cluster ends",
      "peak: 150% capacity, 8 replicas, 4 GPUs",
    ]);
  });

  it("of a hold do not end the old cluster, and say no GPUs that are not known", () => {
    const { peakGpus: _gpus, ...rest } = rollout;
    const lines = planLines({ ...rest, completes: false });
    assert.ok(!lines.some((line) => line.includes("old cluster ends")));
    assert.equal(lines.at(-1), "peak: 150% capacity, 8 replicas");
  });

  it("say the bounds of what scales by itself, and that a count is only in the code", () => {
    const { peakReplicas: _replicas, peakGpus: _gpus, ...rest } = rollout;
    const bounds = { least: 3, most: 20 };
    const waypoints = rollout.waypoints.map((each) => ({ ...each, peakReplicas: bounds }));
    const lines = planLines({ ...rest, waypoints, peakReplicas: bounds });
    assert.match(lines[2]!, /; up to 20 replicas \(at least 3\); back at once$/);
    assert.equal(lines.at(-1), "peak: 150% capacity, 3 to 20 replicas");
    assert.equal(planLines(rest).at(-1), "peak: 150% capacity, replicas as the code says");
  });

  it("of one cluster are what it is and the peaks", () => {
    const alone = { ...rollout, waypoints: [], completes: false, notices: [] };
    for (const [kind, line] of [
      ["firstDeploy", "first deploy of v2: one cluster, all the traffic"],
      ["unchanged", "v2 runs already: nothing to do"],
    ] as const) {
      assert.deepEqual(planLines({ ...alone, kind }), [line, "peak: 150% capacity, 8 replicas, 4 GPUs"]);
    }
  });

  it("of an update in place say what becomes of the replicas of each deployment", () => {
    const change = (application: string, deployment: string, kind: Change["kind"], reason = "why"): Change => ({
      application,
      deployment,
      kind,
      reason,
    });
    const changes = [
      change("*", "*", "none"),
      change("a", "D", "lightweight", "num_replicas changes"),
      change("a", "*", "none"),
      change("b", "*", "heavyweight"),
      change("c", "*", "added"),
      change("d", "*", "removed"),
    ];
    assert.deepEqual(
      planLines({ ...rollout, kind: "inPlace", waypoints: [], completes: false, notices: [], changes }),
      [
        "v2 in place of the running version's applications, on the same cluster:",
        "  all applications: unchanged, replicas are kept (why)",
        "  a/D: lightweight, replicas are kept (num_replicas changes)",
        "  a, its other deployments: unchanged, replicas are kept (why)",
        "  b, all its deployments: heavyweight, replicas are replaced (why)",
        "  c, all its deployments: new (why)",
        "  d, all its deployments: ends (why)",
        "peak: 150% capacity, 8 replicas, 4 GPUs",
      ],
    );
  });

  it("of another version during a rollout have the way back before the rollout", () => {
    const back = [rollout.waypoints[0]!];
    const kind = "rollbackFirst";
    const from = { primaryCapacity: 50, canaryCapacity: 50, canaryTraffic: 50 };
    const lines = planLines({ ...rollout, kind, from, back, notices: [] });
    assert.deepEqual(lines.slice(0, 4), [
      "the rollout that is under way is taken back first, from primary 50% capacity, canary 50% capacity and 50% traffic:",
      "  1  primary 100% capacity, canary 50% capacity and 10% traffic; up to 6 replicas",
      "then v2 rolls out:",
      "  1  primary 100% capacity, canary 50% capacity and 10% traffic; up to 6 replicas; back at once",
    ]);
    const alone = planLines({ ...rollout, kind, back, waypoints: [], completes: false, notices: [] });
    assert.deepEqual(alone.slice(2), ["then v2 runs alone again", "peak: 150% capacity, 8 replicas, 4 GPUs"]);
  });
});
