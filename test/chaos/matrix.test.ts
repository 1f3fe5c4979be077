import assert from "node:assert/strict";
import { Chaos } from "./chaos";
import type { Victim } from "./crash";
import { casesOf, describeCase, Matrix } from "./matrix";
import { ChaosProject } from "./project";

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
    matrix = new Matrix(project);
    await matrix.begin();
  });
  after(async () => {
    await project.remove();
  });

  it("has every effect of a rollout written down by the code", async () => {
    const log = await matrix.record("rollout");
    const names = new Set(log.flatMap((line) => ("name" in line ? line.name : [])));
    for (const name of [
      "write the stack's config",
      "pulumi up",
      "start a head",
      "PUT Serve config",
      "HAProxy command",
      "write HAProxy's files",
      "end a cluster's processes",
      "remove a cluster's directory",
    ]) {
      assert.ok(names.has(name), `${name} is not among ${[...names].join(", ")}`);
    }
    const cases = casesOf("rollout", log);
    assert.equal(new Set(cases.map(describeCase)).size, cases.length);
  });

  it("goes on from wherever it was, safe at every instant, and leaves nothing behind", async () => {
    const victims: Victim[] = ["provider", "driver", "engine", "haproxy"];
    const kills = [6, 9, 14, 18, 22, 30, 5, 36, 42].map((at, index) => ({ at, victim: victims[index % 4]! }));
    const { problems, killed, codes } = await matrix.relay(kills);
    assert.deepEqual(problems, []);
    assert.ok(killed >= 6, `only ${killed} kills had a victim: ${codes.join(", ")}`);
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
    for (const seed of [1]) {
      const problems = await chaos.run(seed);
      assert.deepEqual(problems, [], `seed ${seed} (npm run chaos -- --seeds 1 --from ${seed}):\n${lines.join("\n")}`);
    }
  });
});
