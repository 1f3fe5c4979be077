import assert from "node:assert/strict";
import { Chaos } from "./chaos";
import type { Victim } from "./crash";
import { LocalStage } from "./localStage";
import { casesOf, describeCase, Matrix, pair } from "./matrix";
import { ChaosProject } from "./project";
import { assertEffectsOfAllParts, mainScenarios } from "./scenarios";

/** One with few updates, kills of three kinds, and nothing that excuses a broken invariant. */
const seed = 152;

/**
 * A sample of what `npm run chaos` does for hours: one rollout after the other whose processes are killed at effects that
 * come later and later, and a few schedules. Ray is a fake; the engine, the provider, HAProxy and the driver are not.
 */
describe("a service whose rollouts are killed again and again", function () {
  this.timeout(600_000);
  let project: ChaosProject;
  let matrix: Matrix;

  before(async () => {
    project = new ChaosProject();
    matrix = new Matrix(new LocalStage(project, pair));
    await matrix.begin();
  });
  after(async () => {
    await project.remove();
  });

  it("goes on from wherever it was, safe at every instant, and leaves nothing behind", async () => {
    const victims: Victim[] = ["provider", "driver", "engine", "haproxy"];
    const kills = [6, 9, 14, 18, 22, 30, 5, 36, 42].map((at, index) => ({ at, victim: victims[index % 4]! }));
    const { problems, killed, codes, effects } = await matrix.relay(kills);
    assert.deepEqual(problems, []);
    assertEffectsOfAllParts(effects);
    assert.ok(killed >= 6, `only ${killed} kills had a victim: ${codes.join(", ")}`);
  });
});

describe("the cases of a recording", () => {
  it("are one for each instant and each process that can be killed then", () => {
    const line = (name: string, when: "before" | "after", role: "driver" | "provider") => {
      return { name, when, role, detail: "d", pid: 1 };
    };
    const log = [line("a", "before", "driver"), line("a", "after", "driver"), line("a", "before", "provider")];
    const cases = casesOf(mainScenarios[0]!, log);
    assert.deepEqual(cases.filter(({ victim }) => victim === "driver").map(describeCase), [
      "rollout: driver killed before a #0 (d)",
      "rollout: driver killed after a #0 (d)",
      "rollout: driver killed before a #1 (d)",
    ]);
    assert.deepEqual(
      cases.slice(4).map(({ victim }) => victim),
      ["driver", "engine", "provider", "haproxy"],
    );
    const elsewhere = casesOf(mainScenarios[0]!, log, ["driver", "engine"]);
    assert.deepEqual(
      elsewhere.map(({ victim }) => victim),
      ["driver", "driver", "driver", "engine"],
    );
  });
});

describe("a seeded schedule of commands and faults", function () {
  this.timeout(600_000);
  let project: ChaosProject;

  before(() => {
    project = new ChaosProject();
  });
  after(async () => {
    await project.remove();
  });

  it("ends in what the last command asked for", async () => {
    const lines: string[] = [];
    const chaos = new Chaos(project, (line) => lines.push(line));
    await chaos.begin();
    const problems = await chaos.run(seed);
    assert.deepEqual(problems, [], `seed ${seed} (npm run chaos -- --seeds 1 --from ${seed}):\n${lines.join("\n")}`);
  });
});
