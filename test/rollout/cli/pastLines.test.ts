import assert from "node:assert/strict";
import { historyLines } from "../../../rollout/cli/pastLines";
import type { PastRollout } from "../../../rollout/pastRollouts";

const rollout: PastRollout = {
  kind: "rollout",
  from: "v1",
  to: "v2",
  outcome: "completed",
  surge: 50,
  startedAt: "2026-01-31T12:00:59.123Z",
  endedAt: "2026-01-31T12:03:10.000Z",
  seconds: 130.877,
  updates: 3,
  message: "v2 completes, v1 ends",
};

describe("historyLines", () => {
  it("are a line for each rollout, in columns, and the reason on one line below", () => {
    const { surge: _surge, ...unlimited } = rollout;
    const rollouts: PastRollout[] = [
      { ...rollout, to: "release-7", outcome: "rolledBack", reason: "\x1b[31mValueError\x1b[0m:\n\tno model" },
      { ...unlimited, outcome: "held", traffic: 10, updates: 1, seconds: 5 },
      rollout,
    ];
    assert.deepEqual(historyLines(rollouts), [
      "2026-01-31T12:00:59Z  v1 -> release-7  rolled back  131 s  3 updates, surge 50%",
      "    ValueError: no model",
      "2026-01-31T12:00:59Z  v1 -> v2         held at 10%    5 s  1 update",
      "2026-01-31T12:00:59Z  v1 -> v2         completed    131 s  3 updates, surge 50%",
    ]);
  });

  it("name what was no rollout, and what became of it", () => {
    const { from: _from, surge: _surge, ...alone } = rollout;
    const { to: _to, ...ended } = { ...alone, from: "v2" };
    const line = (past: PastRollout) => historyLines([past])[0]!.slice("2026-01-31T12:00:59Z  ".length);
    assert.equal(line({ ...alone, kind: "firstDeploy" }), "v2  first deploy  131 s  3 updates");
    assert.equal(
      line({ ...alone, kind: "firstDeploy", outcome: "failed" }),
      "v2  first deploy: failed  131 s  3 updates",
    );
    assert.equal(line({ ...rollout, kind: "inPlace" }), "v1 -> v2  in place  131 s  3 updates, surge 50%");
    assert.equal(
      line({ ...alone, kind: "update", message: "larger port" }),
      "v2  update  131 s  3 updates, larger port",
    );
    assert.equal(line({ ...ended, kind: "terminated" }), "v2  terminated  131 s  3 updates");
    assert.equal(line({ ...rollout, outcome: "underWay", traffic: 0 }).includes("under way at 0%"), true);
    assert.equal(line({ ...rollout, outcome: "failed" }).includes("  failed  "), true);
  });

  it("say that there are none", () => assert.deepEqual(historyLines([]), ["No rollouts yet."]));
});
