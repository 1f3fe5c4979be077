import assert from "node:assert/strict";
import type { Instant, Victim } from "../chaos/crash";
import { type Case, describeCase, Matrix, pair } from "../chaos/matrix";
import { mainScenarios } from "../chaos/scenarios";
import { BUILD_MS } from "./bed/bed";
import { KubernetesStage } from "./stage";

const rollout = mainScenarios[0]!;

/** A sample of what the engine, the provider and the driver do in a rollout: each kind of effect, with each victim. */
const kills: Array<{ at: Instant; victim: Victim }> = [
  { at: { name: "apply RayService", occurrence: 0, when: "after" }, victim: "engine" },
  { at: { name: "PUT Serve config", occurrence: 1, when: "before" }, victim: "driver" },
  { at: { name: "apply HTTPRoute", occurrence: 0, when: "before" }, victim: "engine" },
  { at: { name: "apply HTTPRoute", occurrence: 0, when: "after" }, victim: "driver" },
  { at: { name: "PUT Serve config", occurrence: 2, when: "after" }, victim: "engine" },
  { at: { name: "delete RayService", occurrence: 0, when: "before" }, victim: "engine" },
];

/**
 * Dozens of GPU workers over fake nodes: the invariants of docs/design.md, sampled from pods, Ray's answers and what Envoy
 * divides requests by, while rollouts are broken off. `npm run chaos -- --kubernetes` breaks them off anywhere.
 */
describe("rollouts on Kubernetes with dozens of GPU workers", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let stage: KubernetesStage;
  let matrix: Matrix;

  before(async () => {
    stage = await KubernetesStage.start(pair);
    matrix = new Matrix(stage);
    await matrix.begin();
  });
  after(() => stage?.stop());

  it("keep every invariant, within a quota that just fits", async () => {
    const { result: log, problems } = await stage.observed(() => matrix.record(rollout));
    assert.deepEqual([...problems, ...(await stage.problemsAtRest(matrix.primary))], []);
    const names = new Set(log.flatMap((line) => ("name" in line ? [line.name] : [])));
    for (const { at } of kills) assert.ok(names.has(at.name), `${at.name} is among ${[...names].join(", ")}`);
  });

  for (const { at, victim } of kills) {
    const each: Case = { scenario: rollout, at, victim, detail: "of the sample" };
    it(`keep them in a ${describeCase(each)}, and go on`, async () => {
      const { problems, reached } = await matrix.run(each);
      assert.deepEqual(problems, []);
      assert.ok(reached, "nothing was killed");
    });
  }
});
