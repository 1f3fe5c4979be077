import assert from "node:assert/strict";
import { type HistoryEntry, historyEntry, type PastRollout, pastRollouts } from "../../rollout/pastRollouts";

const service = (version: string) => ({
  name: "words",
  version_name: version,
  applications: [{ import_path: "app:app" }],
});

type Config = Record<string, unknown>;

/** The n-th update starts n minutes after noon and takes 10 seconds; its config is as the CLI prints it. */
function update(n: number, config: Config, rest: Partial<HistoryEntry> = {}): HistoryEntry {
  const minute = String(n).padStart(2, "0");
  const entries = Object.entries(config)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => {
      if (value === secret) return [`rayshift:${key}`, { secret: true }];
      return [
        `rayshift:${key}`,
        { value: typeof value === "object" ? JSON.stringify(value) : String(value), secret: false },
      ];
    });
  return historyEntry.parse({
    version: 0,
    kind: "update",
    startTime: `2026-01-31T12:${minute}:00.000Z`,
    endTime: `2026-01-31T12:${minute}:10.000Z`,
    message: `update ${n}`,
    environment: {},
    result: "succeeded",
    config: Object.fromEntries(entries),
    ...rest,
  });
}
const secret = Symbol("secret");

const waypoint = (canaryTraffic: number, changes: Config = {}) => ({
  primary: "v1",
  canary: "v2",
  primaryCapacity: 100,
  canaryCapacity: 100,
  canaryTraffic,
  direction: "forward",
  startedAt: "2026-01-31T12:00:59.000Z",
  ...changes,
});
const first = update(0, { service: service("v1") });
const toV2 = (n: number, traffic: number, config: Config = {}, rest: Partial<HistoryEntry> = {}) =>
  update(n, { service: service("v2"), waypoint: waypoint(traffic), ...config }, rest);
const failed = { result: "failed" };

/** What came of the updates, which are given from the oldest on; newest first. */
const rollouts = (...updates: HistoryEntry[]) => pastRollouts(updates.toReversed(), "rayshift");
const told = ({ kind, from, to, outcome, traffic, updates }: PastRollout) =>
  [kind, from, to, outcome, ...(traffic === undefined ? [] : [traffic]), updates] as const;

describe("pastRollouts", () => {
  it("are none without updates", () => assert.deepEqual(rollouts(), []));

  it("make one of all updates of a rollout, from its start to its end", () => {
    const surge = { waypoint: waypoint(50, { surge: 50 }) };
    const [rollout, deploy] = rollouts(
      first,
      toV2(1, 50, surge),
      toV2(2, 100, { waypoint: waypoint(100, { surge: 50 }) }),
      update(3, { service: service("v2") }),
    );
    assert.deepEqual(rollout, {
      kind: "rollout",
      from: "v1",
      to: "v2",
      outcome: "completed",
      surge: 50,
      startedAt: "2026-01-31T12:00:59.000Z",
      endedAt: "2026-01-31T12:03:10.000Z",
      seconds: 131,
      updates: 3,
      message: "update 3",
    });
    assert.deepEqual(told(deploy!), ["firstDeploy", undefined, "v1", "completed", 1]);
  });

  describe("of a rollout that was taken back", () => {
    const rejected = { version: "v2", digest: "d", reason: "no model", at: "2026-01-31T12:01:30Z" };
    const back = (n: number, config: Config = {}) => update(n, { service: service("v1"), ...config });

    it("say so, with the reason that the driver left, however it went back", () => {
      const immediate = waypoint(0, { canary: "none", direction: "back", immediate: true });
      const ways: HistoryEntry[][] = [
        [back(2, { rejected })],
        [back(2, { rejected, waypoint: waypoint(0, { direction: "back" }) }), back(3, { rejected })],
        [back(2, { rejected, waypoint: immediate })],
      ];
      for (const way of ways) {
        const [rollout, ...before] = rollouts(first, toV2(1, 50, {}, failed), ...way);
        assert.deepEqual(told(rollout!), ["rollout", "v1", "v2", "rolledBack", 1 + way.length]);
        assert.equal(rollout!.reason, "no model");
        assert.equal(before.length, 1);
      }
    });

    it("say no reason where nobody left one, and none of another version or of an earlier rollout", () => {
      const none = [undefined, { ...rejected, version: "v0" }, { ...rejected, at: "2026-01-31T11:00:00Z" }];
      for (const other of none) {
        const [rollout] = rollouts(first, toV2(1, 50), back(2, { rejected: other }));
        assert.deepEqual([rollout!.outcome, rollout!.reason], ["rolledBack", undefined]);
      }
    });

    it("are under way until the last update back succeeded", () => {
      const [rollout] = rollouts(first, toV2(1, 50), back(2, { waypoint: waypoint(20, { direction: "back" }) }));
      assert.deepEqual(told(rollout!), ["rollout", "v1", "v2", "underWay", 20, 2]);
      const [again, ...before] = rollouts(first, toV2(1, 50), { ...back(2), result: "failed" }, back(3));
      assert.deepEqual(told(again!), ["rollout", "v1", "v2", "rolledBack", 3]);
      assert.equal(before.length, 1);
    });
  });

  it("tell a rollout that is held from one that is under way, and go on with both", () => {
    const hold = { canaryPercent: 10 };
    assert.deepEqual(told(rollouts(first, toV2(1, 5, hold))[0]!), ["rollout", "v1", "v2", "underWay", 5, 1]);
    const held = [first, toV2(1, 5, hold), toV2(2, 10, hold)];
    assert.deepEqual(told(rollouts(...held)[0]!), ["rollout", "v1", "v2", "held", 10, 2]);
    // Lowered: the way there is back, and it is no rollback.
    const lower = toV2(3, 5, { canaryPercent: 5, waypoint: waypoint(5, { direction: "back" }) });
    assert.deepEqual(told(rollouts(...held, lower)[0]!), ["rollout", "v1", "v2", "held", 5, 3]);
    const done = [toV2(3, 100), update(4, { service: service("v2") })];
    assert.deepEqual(rollouts(...held, ...done).map(told), [
      ["rollout", "v1", "v2", "completed", 4],
      ["firstDeploy", undefined, "v1", "completed", 1],
    ]);
  });

  it("are failed where the last update failed, at the traffic of the last one that did not", () => {
    const [rollout] = rollouts(first, toV2(1, 5), toV2(2, 10, {}, failed));
    assert.deepEqual(told(rollout!), ["rollout", "v1", "v2", "failed", 5, 2]);
  });

  it("are two where another version was rolled out after one that never began to run", () => {
    const third = { service: service("v3"), waypoint: waypoint(0, { canary: "v3" }) };
    assert.deepEqual(rollouts(first, toV2(1, 0, {}, failed), update(2, third)).map(told), [
      ["rollout", "v1", "v3", "underWay", 0, 1],
      ["rollout", "v1", "v2", "failed", 1],
      ["firstDeploy", undefined, "v1", "completed", 1],
    ]);
  });

  it("of plain updates are told by the versions that they want", () => {
    const plain = (n: number, version: string, config: Config = {}) =>
      update(n, { service: service(version), inPlace: false, ...config });
    const history = [
      plain(0, "v1", failed),
      plain(1, "v1"),
      plain(2, "v1"),
      plain(3, "v2", { canaryPercent: 10, maxSurgePercent: 50 }),
      plain(4, "v2", { canaryPercent: 30, maxSurgePercent: 50 }),
      plain(5, "v1"),
      plain(6, "v3"),
      plain(7, "v4", { inPlace: true }),
    ];
    history[0]!.result = "failed";
    assert.deepEqual(rollouts(...history).map(told), [
      ["inPlace", "v3", "v4", "completed", 1],
      ["rollout", "v1", "v3", "completed", 1],
      ["rollout", "v1", "v2", "rolledBack", 3],
      ["update", "v1", "v1", "completed", 1],
      ["firstDeploy", undefined, "v1", "completed", 2],
    ]);
    assert.equal(rollouts(...history)[2]!.surge, 50);
    assert.deepEqual(told(rollouts(...history.slice(0, 5))[0]!), ["rollout", "v1", "v2", "held", 30, 2]);
  });

  it("name a version without a name by its hash, where the content of its folder is recorded", () => {
    const unnamed = { name: "words", applications: [{ import_path: "app:app" }], working_dir: "./app" };
    const name = (config: Config) => rollouts(update(0, { service: unnamed, ...config }))[0]!.to;
    assert.match(name({ workingDirDigest: "0".repeat(64) })!, /^[0-9a-f]{8}$/);
    assert.notEqual(name({ workingDirDigest: "0".repeat(64) }), name({ workingDirDigest: "1".repeat(64) }));
    assert.equal(name({}), undefined);
  });

  it("of an encrypted service are told by the driver's waypoints", () => {
    const hidden = (n: number, traffic?: number, canary = "v2") =>
      update(n, { service: secret, ...(traffic === undefined ? {} : { waypoint: waypoint(traffic, { canary }) }) });
    assert.deepEqual(
      rollouts(
        update(0, { service: secret }),
        hidden(1, 50),
        hidden(2, 100),
        hidden(3),
        hidden(4, 50, "v3"),
        hidden(5),
      ).map(told),
      [
        ["rollout", "v1", "v3", "rolledBack", 2],
        ["rollout", "v1", "v2", "completed", 3],
        ["firstDeploy", undefined, undefined, "completed", 1],
      ],
    );
  });

  it("begin anew after the service was ended", () => {
    const end = update(2, {}, { kind: "destroy" });
    assert.deepEqual(rollouts(first, toV2(1, 50), end, update(3, { service: service("v2") })).map(told), [
      ["firstDeploy", undefined, "v2", "completed", 1],
      ["terminated", "v1", undefined, "completed", 1],
      ["rollout", "v1", "v2", "underWay", 50, 1],
      ["firstDeploy", undefined, "v1", "completed", 1],
    ]);
  });

  it("leave out what changes nothing of the service", () => {
    assert.equal(rollouts(first, update(1, {}, { kind: "refresh" }), update(2, {}, { kind: "import" })).length, 1);
  });
});
