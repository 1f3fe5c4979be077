import assert from "node:assert/strict";

import { setMaxListeners } from "node:events";
import { mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Inspection } from "../../rollout/inspect";
import { type Interruption, Outage, type WatchOptions, watch } from "../../rollout/watch";

const cluster = { version: "v1", capacity: null, traffic: 100, replicas: { running: 1, wanted: 1 }, workers: 1 };
const well: Inspection = {
  at: { primaryCapacity: 100, canaryCapacity: 100, canaryTraffic: 0 },
  primary: cluster,
  canary: { ...cluster, version: "v2", traffic: 0 },
  gone: [],
  drifted: false,
  silent: false,
  strange: [],
  outlivesHead: false,
  unhealthy: {},
};
const sick: Inspection = { ...well, unhealthy: { canary: "deployment D is UNHEALTHY" } };
const silent: Inspection = {
  ...well,
  canary: { ...well.canary!, replicas: null, workers: null, waitsFor: "its head does not answer" },
  down: "its head does not answer",
  silent: true,
};
/** Its head is back, and has yet to be given what it is to run. */
const empty: Inspection = {
  ...well,
  canary: { ...well.canary!, replicas: { running: 0, wanted: 0 } },
  down: "nothing runs on its cluster",
};

/** Time passes only when a test says so. */
describe("watch", () => {
  let ending: AbortController;
  let seen: Inspection[];
  let result: Interruption | undefined | "watching";
  const kind = () => (result === undefined || result === "watching" ? result : result.kind);
  let watching: Promise<unknown>;
  const start = Date.parse("2026-01-31T12:00:00.000Z");

  beforeEach(() => {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: start });
    ending = new AbortController();
    // The real timers take their listeners off the signal; the ones that the test moves do not.
    setMaxListeners(0, ending.signal);
    seen = [];
    result = "watching";
  });
  afterEach(async () => {
    ending.abort();
    await watching;
    mock.timers.reset();
  });

  const settle = async () => {
    for (let turns = 0; turns < 5; turns++) await turn();
  };

  async function begin(look: () => Promise<Inspection>, options: Partial<WatchOptions> = {}): Promise<void> {
    const all = { look, onLook: (each: Inspection) => void seen.push(each), endWhenUnhealthy: true, ...options };
    watching = watch(all, ending.signal).then((interruption) => {
      result = interruption;
    });
    await settle();
  }

  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 500) {
      mock.timers.tick(500);
      await settle();
    }
  }

  it("ends with the reason when the canary becomes unhealthy", async () => {
    let now = well;
    await begin(async () => now);
    await pass(1000);
    assert.equal(result, "watching");
    now = sick;
    await pass(500);
    assert.deepEqual(result, { kind: "unhealthy", reason: "deployment D is UNHEALTHY" });
    assert.equal(seen.at(-1), sick);
  });

  it("does not end for an unhealthy primary", async () => {
    await begin(async () => ({ ...well, unhealthy: { primary: "deployment D is UNHEALTHY" } }));
    await pass(1000);
    assert.equal(result, "watching");
  });

  it("goes on showing what it sees of an unhealthy canary on the way back", async () => {
    await begin(async () => sick, { endWhenUnhealthy: false });
    await pass(1000);
    assert.equal(result, "watching");
    assert.equal(seen.length, 3);
  });

  it("goes on past a head that is gone on the way back", async () => {
    await begin(async () => silent, { endWhenUnhealthy: false });
    await pass(30_000);
    assert.equal(result, "watching");
  });

  it("ends at the deadline and not before, also on the way back", async () => {
    const deadline = new Date(start + 1000).toISOString();
    await begin(async () => sick, { deadline, endWhenUnhealthy: false });
    await pass(500);
    assert.equal(result, "watching");
    await pass(500);
    assert.deepEqual(result, { kind: "deadline", reason: `not complete at its deadline, ${deadline}` });
  });

  it("ends at the deadline when no look succeeds", async () => {
    await begin(() => Promise.reject(new Error("no")), { deadline: new Date(start + 500).toISOString() });
    await pass(500);
    assert.equal(kind(), "deadline");
  });

  it("says that the canary is unhealthy rather than late when it is both", async () => {
    await begin(async () => sick, { deadline: new Date(start - 1).toISOString() });
    assert.equal(kind(), "unhealthy");
  });

  it("gives a head up only after it has not answered for ten seconds", async () => {
    await begin(async () => silent);
    await pass(9500);
    assert.equal(result, "watching");
    await pass(500);
    assert.deepEqual(result, { kind: "unhealthy", reason: "v2: its head does not answer" });
  });

  it("counts anew when the head has answered in between", async () => {
    let now = silent;
    await begin(async () => now);
    await pass(9000);
    now = well;
    await pass(500);
    now = silent;
    await pass(9500);
    assert.equal(result, "watching");
    await pass(1000);
    assert.equal(kind(), "unhealthy");
  });

  it("waits for the replicas of a head that is back, where an update may have made it", async () => {
    let now = silent;
    await begin(async () => now);
    await pass(9000);
    now = empty;
    await pass(30_000);
    assert.equal(result, "watching");
  });

  it("counts a head that is back as down until something runs on it, where no update is under way", async () => {
    let now = silent;
    await begin(async () => now, { outage: new Outage() });
    await pass(9000);
    now = empty;
    await pass(500);
    assert.equal(result, "watching");
    await pass(500);
    assert.deepEqual(result, { kind: "unhealthy", reason: "v2: nothing runs on its cluster" });
  });

  it("goes on when a look fails", async () => {
    let looks = 0;
    await begin(async () => {
      if (looks++ < 3) throw new Error("no answer");
      return sick;
    });
    assert.deepEqual([result, seen], ["watching", []]);
    await pass(1500);
    assert.equal(kind(), "unhealthy");
  });

  it("knows how long a canary has been down from a watch before", async () => {
    const outage = new Outage();
    outage.observe(silent);
    mock.timers.tick(9_000);
    await begin(async () => silent, { outage });
    assert.equal(result, "watching");
    await pass(1000);
    assert.deepEqual(result, { kind: "unhealthy", reason: "v2: its head does not answer" });
  });

  it("gives a head that is replaced two minutes where requests are answered meanwhile", async () => {
    let now: Inspection = { ...silent, outlivesHead: true };
    await begin(async () => now, { outage: new Outage() });
    await pass(60_000);
    now = { ...empty, outlivesHead: true };
    await pass(59_500);
    assert.equal(result, "watching");
    await pass(500);
    assert.deepEqual(result, { kind: "unhealthy", reason: "v2: nothing runs on its cluster" });
  });

  it("does not count another canary's outage", () => {
    const outage = new Outage();
    outage.observe(silent);
    mock.timers.tick(10_000);
    assert.equal(outage.observe({ ...silent, canary: { ...silent.canary!, version: "v3" } }), undefined);
  });

  it("does not take back that a canary was down for too long", () => {
    const outage = new Outage();
    outage.observe(silent);
    mock.timers.tick(10_000);
    const reason = outage.observe(silent);
    assert.equal(reason, "v2: its head does not answer");
    assert.equal(outage.observe(well), reason);
  });

  it("ends without a reason when it is aborted, at once and also within a look", async () => {
    await begin(async () => well);
    ending.abort();
    await settle();
    assert.equal(result, undefined);

    ending = new AbortController();
    result = "watching";
    seen = [];
    let answer: (inspection: Inspection) => void = () => {};
    await begin(() => new Promise((resolve) => (answer = resolve)));
    ending.abort();
    answer(sick);
    await settle();
    assert.deepEqual([result, seen], [undefined, []]);
  });
});
