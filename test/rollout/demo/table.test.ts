import assert from "node:assert/strict";
import { waypointTable } from "../../../rollout/demo/table";
import type { ClusterStatus } from "../../../rollout/events";

const cluster = (version: string, capacity: number | null, traffic: number | null): ClusterStatus => ({
  version,
  capacity,
  traffic,
  replicas: { running: 2, wanted: 4 },
  workers: 2,
});

describe("the demo's table of waypoints", () => {
  it("has a line for each waypoint, with both clusters in columns", () => {
    const table = waypointTable([
      { seconds: 9.04, deploying: "v1", primary: cluster("v1", null, 100) },
      { seconds: 62.5, deploying: "v2", primary: cluster("v1", 50, 50), canary: cluster("v2", 50, 50) },
    ]);
    assert.deepEqual(table, [
      "                primary                                        canary",
      "time    deploy  version  capacity  traffic  replicas  workers  version  capacity  traffic  replicas  workers",
      "9.0 s   v1      v1       100%      100%     2/4       2        -",
      "62.5 s  v2      v1       50%       50%      2/4       2        v2       50%       50%      2/4       2",
    ]);
  });

  it("shows what could not be asked as unknown", () => {
    const silent = { ...cluster("v1", 100, null), replicas: null, workers: null };
    const [, , line = ""] = waypointTable([{ seconds: 1, deploying: "v1", primary: silent }]);
    assert.equal(line.replaceAll(/ +/g, " "), "1.0 s v1 v1 100% ? ? ? -");
  });
});
