import assert from "node:assert/strict";
import { describeStep, excused, mostSurge, scheduleOf } from "./schedule";

describe("a schedule of chaos", () => {
  const seeds = Array.from({ length: 500 }, (_, seed) => seed);

  it("is the same for the same seed, and another for another", () => {
    const all = seeds.map((seed) => JSON.stringify(scheduleOf(seed)));
    assert.deepEqual(
      seeds.map((seed) => JSON.stringify(scheduleOf(seed))),
      all,
    );
    assert.ok(new Set(all).size > 490);
  });

  it("has every kind of command, fault and meddling in a few hundred seeds", () => {
    const text = seeds.flatMap((seed) => scheduleOf(seed).map(describeStep)).join("\n");
    for (const kind of [
      /deploy first/,
      /deploy second \(fails\) --canary-percent 50/,
      /deploy third \(breaks\)/,
      /rollback --max-surge-percent 25/,
      /\[driver killed/,
      /\[engine killed/,
      /\[provider killed/,
      /\[haproxy killed/,
      /\[interrupted after/,
      /somebody gives the first server/,
      /the canary's head is killed/,
    ]) {
      assert.match(text, kind);
    }
  });

  it("excuses only what somebody else broke", () => {
    const good = { kind: "deploy", which: "second", quality: "good", surge: 25 } as const;
    assert.deepEqual([...excused([{ command: good, fault: { kind: "kill", victim: "haproxy", effect: 1 } }])], []);
    assert.ok(excused([{ command: good, before: { kind: "head", of: "primary" } }]).has("I6"));
    assert.ok(!excused([{ command: good, before: { kind: "weights", percent: 0 } }]).has("I2"));
    assert.equal(mostSurge([{ command: good }, { command: { kind: "rollback", surge: 50 } }]), 50);
    assert.equal(mostSurge([{ command: { ...good, surge: 25 } }, { command: { kind: "rollback" } }]), 100);
  });
});
