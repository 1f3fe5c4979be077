import { parseArgs } from "node:util";
import { Chaos } from "./chaos";
import { LocalStage } from "./localStage";
import { casesOf, describeCase, Matrix, pair } from "./matrix";
import { ChaosProject } from "./project";
import { mainScenarios } from "./scenarios";
import { describeStep, scheduleOf } from "./schedule";
import type { Stage } from "./stage";

const usage = `usage: npm run chaos -- [--seeds N] [--from SEED]
       npm run chaos -- --matrix [--only REGEXP] [--every N] [--offset N] [--from CASE]
       npm run chaos -- --kubernetes [--only REGEXP] [--every N] [--offset N] [--from CASE]
       npm run chaos -- --fake [--seeds N] [--from SEED] [--steps N] [--only "KIND,KIND"] [--show]
       npm run chaos -- --fake --matrix [--only REGEXP] [--every N] [--offset N] [--show]

Seeds: schedules of commands, faults and kills, one a seed; the first is SEED (1).
Matrix: a kill before and after every effect of a rollout, a rollback and a completion; of those whose description
matches REGEXP every N-th, beginning with number OFFSET (all of them take hours). CASE: the first of these that is
played, 1 by default, to go on with a matrix that was ended.
Kubernetes: the matrix with dozens of GPU workers over fake nodes, on the test bed (test/kubernetes/bed).
Fake: schedules over fakes of the engine, of Ray and of HAProxy in one process, about one a second; with --matrix a
kill at every effect of more commands than above, and of the engine's own steps (all of them take 20 minutes).
`;

const print = (text: string) => process.stdout.write(`${text}\n`);
const indented = (problems: readonly string[]) =>
  problems.map((problem) => problem.replaceAll(/^/gm, "    ")).join("\n");

/** A Ctrl-C ends the run after the case that is under way, and nothing is left behind; another one ends it at once. */
let stopped = false;
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    if (stopped) process.exit(1);
    stopped = true;
  });
}

/** Both give back how many failed. */
async function runSeeds(project: ChaosProject, from: number, count: number): Promise<number> {
  const chaos = new Chaos(project, print);
  await chaos.begin();
  let failed = 0;
  for (let seed = from; seed < from + count && !stopped; seed++) {
    print(`seed ${seed}`);
    const problems = await chaos.run(seed);
    if (problems.length === 0) continue;
    failed++;
    print(`seed ${seed} FAILED:\n${indented(problems)}`);
    print(`  its schedule:\n${indented(scheduleOf(seed).map(describeStep))}`);
    print(`  replay: npm run chaos -- --seeds 1 --from ${seed}`);
  }
  return failed;
}

interface Choice {
  only: RegExp;
  every: number;
  offset: number;
  from: number;
}

async function runMatrix(stage: Stage, { only, every, offset, from }: Choice): Promise<number> {
  const matrix = new Matrix(stage);
  await matrix.begin();
  const cases = [];
  for (const scenario of mainScenarios) {
    if (!stopped) cases.push(...casesOf(scenario, await matrix.record(scenario), stage.victims));
  }
  const chosen = cases.filter((each) => only.test(describeCase(each))).filter((_, index) => index % every === offset);
  print(`${chosen.length} of ${cases.length} cases`);
  let failed = 0;
  for (const [index, each] of chosen.entries()) {
    if (index + 1 < from) continue;
    if (stopped) break;
    const { problems, codes, said, reached, seconds } = await matrix.run(each);
    const end = problems.length > 0 ? "FAILED" : reached ? "ok" : "not reached";
    print(
      `${index + 1}/${chosen.length} ${end} (${codes.join(", then ")}) ${seconds.toFixed(0)} s  ${describeCase(each)}  ${said}`,
    );
    if (problems.length === 0) continue;
    failed++;
    print(indented(problems));
  }
  return failed;
}

async function onThisHost(run: (project: ChaosProject) => Promise<number>): Promise<number> {
  const project = new ChaosProject();
  try {
    return await run(project);
  } finally {
    await project.remove();
  }
}

async function onKubernetes(run: (stage: Stage) => Promise<number>): Promise<number> {
  const { KubernetesStage } = await import("../kubernetes/stage.js");
  const stage = await KubernetesStage.start(pair);
  try {
    return await run(stage);
  } finally {
    await stage.stop();
  }
}

async function main(): Promise<void> {
  if (process.argv.includes("--fake")) {
    await import("../sim/main.js");
    return;
  }
  const text = { type: "string" } as const;
  const options = {
    matrix: { type: "boolean" },
    kubernetes: { type: "boolean" },
    seeds: text,
    from: text,
    only: text,
    every: text,
    offset: text,
  } as const;
  const { values } = parseArgs({ options });
  const number = (given: string | undefined, otherwise: number) => {
    const value = given === undefined ? otherwise : Number(given);
    if (!Number.isInteger(value) || value < 0) throw new Error(`${given} is not a whole number`);
    return value;
  };
  const inMatrix = (stage: Stage) =>
    runMatrix(stage, {
      only: new RegExp(values.only ?? ""),
      every: number(values.every, 1),
      offset: number(values.offset, 0),
      from: number(values.from, 1),
    });
  const failed = values.kubernetes
    ? await onKubernetes(inMatrix)
    : await onThisHost((project) =>
        values.matrix
          ? inMatrix(new LocalStage(project, pair))
          : runSeeds(project, number(values.from, 1), number(values.seeds, 5)),
      );
  print(failed === 0 ? "none failed" : `${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n${usage}`);
  process.exitCode = 2;
});
