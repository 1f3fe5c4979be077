import assert from "node:assert/strict";
import { type Report, runSchedule } from "./run";
import { type FaultKind, kills, scheduleOf } from "./schedule";

/**
 * The real program, provider and driver on fakes of Pulumi, Ray Serve and HAProxy. What the fakes do not prove is said at
 * each of them; the end-to-end and chaos tests run the same behaviours on the real parts.
 */
describe("the service on fakes", function () {
  this.timeout(120_000);

  const mixes: Record<string, { faults: readonly FaultKind[]; seeds: number }> = {
    "commands in any order": { faults: [], seeds: 10 },
    "commands that are killed at any effect": { faults: kills, seeds: 10 },
  };
  for (const [title, { faults, seeds }] of Object.entries(mixes)) {
    it(`keeps every invariant through ${title}, and ends as the last command says`, async () => {
      for (let seed = 1; seed <= seeds; seed++) assertGood(await runSchedule(scheduleOf(seed, { faults })), faults);
    });
  }

  it("does the same again for the same seed", async () => {
    const [first, second] = [await runSchedule(scheduleOf(3)), await runSchedule(scheduleOf(3))];
    const comparable = ({ trace }: Report) => trace.map((line) => line.replaceAll(/rayshift-\d+\/\w+/g, ""));
    assert.deepEqual(comparable(first), comparable(second));
  });
});

function assertGood({ seed, violations, steps }: Report, faults: readonly FaultKind[]): void {
  const replay = `node dist/test/sim/main.js --from ${seed} --seeds 1 --show --only "${faults.join(",")}"`;
  assert.deepEqual(violations, [], `seed ${seed}:\n  ${steps.join("\n  ")}\nreplay: ${replay}\n`);
}
