import { describeCase } from "../chaos/matrix";
import { scenarios } from "../chaos/scenarios";
import { casesOnFakes, runCase } from "./matrix";
import { runSchedule } from "./run";
import { harms, kills, type Mix, scheduleOf } from "./schedule";

const { argv } = process;
const option = (name: string) => argv[argv.indexOf(`--${name}`) + 1];
const number = (name: string, otherwise: number) => (argv.includes(`--${name}`) ? Number(option(name)) : otherwise);
const show = argv.includes("--show");
const indented = (lines: readonly string[]) => lines.map((line) => `  ${line.replaceAll("\n", "\n  ")}`).join("\n");

/** `--seeds N --from S --steps N --only "fault,fault"`: schedules; gives how many broke an invariant. */
async function runSchedules(): Promise<number> {
  const mix: Mix = { steps: number("steps", 10) };
  if (argv.includes("--only")) {
    mix.faults = [...kills, ...harms].filter((kind) => option("only")?.split(",").includes(kind));
  }
  const [from, count] = [number("from", 1), number("seeds", 100)];
  const broken: number[] = [];
  let effects = 0;
  for (let seed = from; seed < from + count; seed++) {
    const report = await runSchedule(scheduleOf(seed, mix), show);
    effects += report.effects;
    if (show) console.log([...report.trace, ""].join("\n"));
    if (report.violations.length === 0 && !show) continue;
    console.log(`seed ${seed}: ${report.violations.length === 0 ? "good" : report.violations.join("\n  ")}`);
    console.log(indented(report.steps));
    if (report.violations.length > 0) broken.push(seed);
  }
  const found = broken.length === 0 ? "all good" : `${broken.length} broke: ${broken.join(", ")}`;
  console.log(`${count} schedules, ${effects} effects: ${found}`);
  return broken.length;
}

/** `--matrix --only REGEXP --every N --offset N`: kills at every instant; gives how many cases broke an invariant. */
async function runMatrix(): Promise<number> {
  const only = new RegExp(argv.includes("--only") ? (option("only") ?? "") : "");
  const [every, offset] = [number("every", 1), number("offset", 0)];
  const all = [];
  for (const scenario of scenarios) all.push(...(await casesOnFakes(scenario)));
  const chosen = all.filter((each) => only.test(describeCase(each))).filter((_, index) => index % every === offset);
  let failed = 0;
  let reached = 0;
  for (const each of chosen) {
    const report = await runCase(each, show);
    if (show) console.log([...report.trace, ""].join("\n"));
    if (report.reached) reached += 1;
    if (report.violations.length === 0 && !show) continue;
    if (report.violations.length > 0) failed += 1;
    console.log(`${report.violations.length > 0 ? "FAILED" : "ok"} ${describeCase(each)}`);
    console.log(indented([...report.violations, ...report.ends.map((end) => `=> ${end}`)]));
  }
  console.log(`${chosen.length} of ${all.length} cases, ${reached} with a victim: ${failed} failed`);
  return failed;
}

/** With `--show` everything that took place is printed. */
async function main(): Promise<void> {
  process.on("unhandledRejection", () => {});
  const began = process.hrtime.bigint();
  const failed = await (argv.includes("--matrix") ? runMatrix() : runSchedules());
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  console.log(`${seconds.toFixed(1)} s, ${(process.cpuUsage().user / 1e6).toFixed(1)} s of the processor`);
  process.exit(failed === 0 ? 0 : 1);
}

void main();
