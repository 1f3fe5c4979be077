import assert from "node:assert/strict";
import { type Case, describeCase } from "../chaos/matrix";
import { assertEffectsOfAllParts, scenarios } from "../chaos/scenarios";
import { casesOnFakes, runCase } from "./matrix";

/** Every so many-th case runs here; all of them take twenty minutes (`npm run chaos -- --fake --matrix`). */
const stride = 16;

/** Kills that something was once wrong after. */
const pinned: Record<string, RegExp> = {
  "finishes the first update before the canary grows on": /^way back by waypoints: engine killed before PUT .* #2 /,
  "ends the canary of a rejected version whose end was broken off":
    /^failing canary without a surge: provider killed before end a cluster's processes #0 /,
  "gives a primary back what a broken-off update took from it after the record was written":
    /^way back by waypoints: driver killed before engine updating load-balancer #0 /,
  "finds a canary unhealthy that fails an update at once":
    /^way back without a surge: engine killed after engine creating cluster-v2 #0 /,
};

describe("a command that is broken off at any instant of the fakes", function () {
  this.timeout(600_000);
  let cases: Case[];

  before(async () => {
    cases = [];
    for (const scenario of scenarios) cases.push(...(await casesOnFakes(scenario)));
  });

  it("is every command, at every effect, with every process that lives then", () => {
    const named = cases.map(describeCase);
    assert.equal(new Set(named).size, named.length);
    for (const { name } of scenarios) {
      for (const victim of ["driver", "engine", "provider", "haproxy"]) {
        assert.ok(
          named.some((each) => each.startsWith(`${name}: ${victim} killed`)),
          `${name}: no ${victim} is killed`,
        );
      }
    }
    const effects = new Set(cases.map(({ at }) => at.name));
    assertEffectsOfAllParts(effects);
  });

  it("is finished by the same command, safe at every effect, with nothing left behind", async () => {
    for (const [index, each] of cases.entries()) if (index % stride === 0) await assertGood(each);
  });

  for (const [title, pattern] of Object.entries(pinned)) {
    it(title, async () => {
      const found = cases.find((each) => pattern.test(describeCase(each)));
      assert.ok(found, `no case is ${pattern}`);
      await assertGood(found);
    });
  }
});

async function assertGood(each: Case): Promise<void> {
  const { violations, ends, reached } = await runCase(each);
  const name = describeCase(each);
  const replay = `npm run chaos -- --fake --matrix --show --only "^${name.replaceAll(/[^\w ]/g, ".")}"`;
  assert.deepEqual(violations, [], `${name}\n  ${ends.join("\n  ")}\nreplay: ${replay}\n`);
  assert.ok(reached, `nothing was killed: ${name}`);
}
