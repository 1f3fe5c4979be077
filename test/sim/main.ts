import { runSchedule } from "./run";
import { harms, kills, type Mix, scheduleOf } from "./schedule";

/** `--seeds N --from S --steps N --only "fault,fault" --show`: runs schedules on the fakes, and ends with 1 when one of them broke an invariant. */
async function main(): Promise<void> {
  const option = (name: string) => process.argv[process.argv.indexOf(`--${name}`) + 1];
  const number = (name: string, otherwise: number) =>
    process.argv.includes(`--${name}`) ? Number(option(name)) : otherwise;
  const mix: Mix = { steps: number("steps", 10) };
  if (process.argv.includes("--only")) {
    mix.faults = [...kills, ...harms].filter((kind) => option("only")?.split(",").includes(kind));
  }
  const [from, count] = [number("from", 1), number("seeds", 100)];
  const show = process.argv.includes("--show");
  const broken: number[] = [];
  const began = process.hrtime.bigint();
  let effects = 0;
  process.on("unhandledRejection", () => {});
  for (let seed = from; seed < from + count; seed++) {
    const report = await runSchedule(scheduleOf(seed, mix), show);
    effects += report.effects;
    if (show) console.log([...report.trace, ""].join("\n"));
    if (process.argv.includes("--progress"))
      console.log(`seed ${seed}: ${report.effects} effects, ${process.cpuUsage().user / 1e6} s`);
    if (report.violations.length === 0 && !show) continue;
    console.log(`seed ${seed}: ${report.violations.length === 0 ? "good" : report.violations.join("\n  ")}`);
    for (const step of report.steps) console.log(`  ${step}`);
    if (report.violations.length > 0) broken.push(seed);
  }
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  const found = broken.length === 0 ? "all good" : `${broken.length} broke: ${broken.join(", ")}`;
  console.log(`${count} schedules, ${effects} effects, ${seconds.toFixed(1)} s: ${found}`);
  process.exit(broken.length === 0 ? 0 : 1);
}

void main();
