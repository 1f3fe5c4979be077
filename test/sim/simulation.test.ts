import assert from "node:assert/strict";
import { type Report, runSchedule } from "./run";
import { type FaultKind, harms, kills, scheduleOf } from "./schedule";

/**
 * The real program, provider and driver on fakes of Pulumi, Ray Serve and HAProxy. What the fakes do not prove is said at
 * each of them; the end-to-end and chaos tests run the same behaviours on the real parts.
 */
describe("the service on fakes", function () {
  this.timeout(120_000);

  const first = Array.from({ length: 10 }, (_, index) => index + 1);
  const mixes: Record<string, { faults: readonly FaultKind[]; seeds: number[] }> = {
    "commands in any order": { faults: [], seeds: first },
    "commands that are killed at any effect": { faults: kills, seeds: first },
    // Seeds that something was once found with.
    "all faults at once": { faults: [...kills, ...harms], seeds: [29, 34, 43, 48, 49, 61, 78, 86, 130, 158, 199, 200] },
  };
  for (const [title, { faults, seeds }] of Object.entries(mixes)) {
    it(`keeps every invariant through ${title}, and ends as the last command says`, async () => {
      for (const seed of seeds) assertGood(await runSchedule(scheduleOf(seed, { faults })), faults);
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
