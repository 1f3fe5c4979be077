import assert from "node:assert/strict";
import { clusterLine, eventLines, oneLine, outcomeLines, statusLines } from "../../../rollout/cli/lines";
import type { ClusterStatus, RolloutEvent } from "../../../rollout/events";

const primary: ClusterStatus = {
  version: "v1",
  capacity: null,
  traffic: 90,
  replicas: { running: 4, wanted: 4 },
  workers: 4,
};
const canary: ClusterStatus = {
  version: "v2",
  capacity: 50,
  traffic: 10,
  replicas: { running: 1, wanted: 2 },
  workers: 1,
  waitsFor: "1 of 2 replicas of default/D run",
};
const silent: ClusterStatus = { version: "v2", capacity: 50, traffic: null, replicas: null, workers: null };
const waypoint = { primaryCapacity: 100, canaryCapacity: 50, canaryTraffic: 10 };
/** As Ray writes it: coloured, on lines of its own. */
const fromRay = "\x1b[31mValueError\x1b[0m: no\r\n\tmodel";

describe("clusterLine", () => {
  it("says what a cluster has, is asked for, is sent, and waits for", () => {
    assert.equal(
      clusterLine("primary", primary),
      "primary v1          capacity 100%  traffic 90%   replicas 4/4  workers 4",
    );
    assert.equal(
      clusterLine("canary", canary),
      "canary  v2          capacity 50%   traffic 10%   replicas 1/2  workers 1  1 of 2 replicas of default/D run",
    );
  });

  it("shows what could not be asked as unknown, not as nothing", () => {
    assert.equal(
      clusterLine("canary", silent),
      "canary  v2          capacity 50%   traffic ?     replicas ?  workers ?",
    );
  });

  it("keeps a long name apart from what follows, and is one line whatever Ray says", () => {
    const line = clusterLine("canary", { ...canary, version: "release-2026-01-31", waitsFor: fromRay });
    assert.equal(
      line,
      "canary  release-2026-01-31 capacity 50%   traffic 10%   replicas 1/2  workers 1  ValueError: no model",
    );
  });
});

describe("eventLines", () => {
  const cases: Array<[RolloutEvent, string[]]> = [
    [
      { event: "started", command: "deploy", service: "words", version: "v2", notices: ["`tags`: without effect"] },
      ["deploy words, version v2", "note: `tags`: without effect"],
    ],
    [{ event: "notice", message: "no GPU" }, ["note: no GPU"]],
    [
      { event: "planned", waypoints: [waypoint, { ...waypoint, canaryTraffic: 50 }], peakCapacity: 150 },
      ["waypoints (primary capacity, canary capacity, canary traffic): (100, 50, 10) (100, 50, 50), peak 150%"],
    ],
    [{ event: "planned", waypoints: [], peakCapacity: 100 }, []],
    [
      {
        event: "changes",
        version: "v2",
        changes: [{ application: "default", deployment: "D", kind: "lightweight", reason: "num_replicas changes" }],
      },
      [
        "v2 changes in place of the running version:",
        "  default/D: lightweight, replicas are kept (num_replicas changes)",
      ],
    ],
    [{ event: "update", message: "v2: 10% of the traffic", waypoint }, ["update: v2: 10% of the traffic"]],
    [{ event: "progress", resource: "cluster-v2", message: "the head starts" }, ["  cluster-v2: the head starts"]],
    [{ event: "status", primary, canary }, []],
    [
      { event: "reached", waypoint, seconds: 12.345, primary, canary },
      [
        "reached primary 100% capacity, canary 50% capacity and 10% traffic after 12.3 s",
        `  ${clusterLine("primary", primary)}`,
        `  ${clusterLine("canary", canary)}`,
      ],
    ],
    [{ event: "unhealthy", version: "v2", reason: "D is UNHEALTHY" }, ["version v2 is not good: D is UNHEALTHY"]],
    [{ event: "finished", outcome: "completed", version: "v2", seconds: 61 }, ["completed after 61.0 s"]],
  ];
  for (const [event, lines] of cases) {
    it(`of ${event.event} are ${lines.length === 0 ? "none" : `"${lines[0]?.slice(0, 50)}"`}`, () =>
      assert.deepEqual(eventLines(event), lines));
  }

  it("keep the lines of what Ray said, without colours and control characters", () => {
    assert.deepEqual(eventLines({ event: "unhealthy", version: "v2", reason: fromRay }), [
      "version v2 is not good: ValueError: no ",
      "     model",
    ]);
    assert.deepEqual(eventLines({ event: "progress", resource: "r", message: "a\x07b" }), ["  r: a b"]);
  });
});

describe("oneLine", () => {
  it("puts all lines of a text on one", () => assert.equal(oneLine(fromRay), "ValueError: no model"));
});

describe("statusLines", () => {
  it("of a rollout say where it stands, until when, and what is wrong", () => {
    assert.deepEqual(
      statusLines({
        state: "UNHEALTHY",
        service: "words",
        url: "http://127.0.0.1:8000",
        primary,
        canary,
        startedAt: "2026-01-31T12:00:00.000Z",
        deadline: "2026-01-31T14:00:00.000Z",
        surge: 50,
        problems: ["v2: D is UNHEALTHY", `v2: ${fromRay}`],
      }),
      [
        "words is UNHEALTHY at http://127.0.0.1:8000",
        clusterLine("primary", primary),
        clusterLine("canary", canary),
        "rolled back if not complete by 2026-01-31T14:00:00.000Z",
        "problem: v2: D is UNHEALTHY",
        "problem: v2: ValueError: no ",
        "     model",
      ],
    );
  });

  it("of a first deploy say that it goes on", () => {
    assert.deepEqual(statusLines({ state: "STARTING", problems: ["not ended"] }), ["STARTING", "problem: not ended"]);
  });

  it("of nothing are the state alone", () => {
    assert.deepEqual(statusLines({ state: "TERMINATED", problems: [] }), ["TERMINATED"]);
  });
});

describe("outcomeLines", () => {
  const result = { version: "v2", url: "http://127.0.0.1:8000" };

  it("say where the service answers", () => {
    assert.deepEqual(outcomeLines({ ...result, outcome: "completed" }, { stack: "dev" }), [
      "v2: completed; the service answers at http://127.0.0.1:8000",
    ]);
  });

  it("of a hold say the next commands, with the stack where it is not the usual one", () => {
    const next = (stack: string) => outcomeLines({ ...result, outcome: "held" }, { stack })[1];
    assert.equal(
      next("dev"),
      "Held. Go on with `rayshift deploy --canary-percent N`, complete with 100, or go back with `rayshift rollback`.",
    );
    assert.match(next("prod")!, /`rayshift deploy -s prod --canary-percent N`.*`rayshift rollback -s prod`/);
  });
});
