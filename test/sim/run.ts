import type { RolloutRecord } from "../../components/record";
import { Random } from "../chaos/random";
import { strike } from "./faults";
import { type Command, describe, type Fault, type Schedule, type Step } from "./schedule";
import { type Ended, inWords, onStage, Stage } from "./stage";

/** What became of a schedule. */
export interface Report {
  seed: number;
  /** Empty when everything held. */
  violations: string[];
  /** Every command with its outcome. */
  steps: string[];
  /** Everything that took place, with the seconds of the simulated time. */
  trace: string[];
  effects: number;
  seconds: number;
}

const settleMs = 45_000;

/** Runs a schedule on fakes, and at its end one command that has to put everything right. */
export async function runSchedule(schedule: Schedule, traces = false): Promise<Report> {
  const run = new Run(schedule);
  await onStage(run.stage, traces, () => run.all());
  return run.report();
}

class Run {
  readonly stage: Stage;
  private readonly steps: string[] = [];
  private instants = 0;
  private faults: Fault[] = [];
  private fired: string[] = [];

  constructor(private readonly schedule: Schedule) {
    const random = new Random(schedule.seed);
    this.stage = new Stage(random, schedule.versions);
    this.stage.onInstant = (what, when) => this.instant(`${when} ${what}`, random);
  }

  report(): Report {
    const { violations, effects, simulation } = this.stage;
    const { trace, clock } = simulation.world;
    const seconds = (clock.now - Date.UTC(2026, 0, 31, 12)) / 1000;
    return { seed: this.schedule.seed, violations, steps: this.steps, trace, effects, seconds };
  }

  async all(): Promise<void> {
    for (const step of this.schedule.steps) {
      await this.step(step);
      if (this.stage.violations.length > 0) return;
    }
    await this.settle();
  }

  private async step(step: Step): Promise<void> {
    const { command } = step;
    const { simulation } = this.stage;
    if (simulation.balancer) simulation.balancer.lies = false;
    const before = this.stage.record;
    const harmed = this.harms();
    [this.instants, this.faults, this.fired] = [0, [...step.faults], []];
    const ended = await this.stage.carryOut(command);
    this.faults = [];
    this.steps.push(`${describe(step)} => ${inWords(ended)}${this.fired.map((each) => ` [${each}]`).join("")}`);
    if (this.fired.length === 0 && harmed === "" && this.harms() === "") this.judge(command, ended, before);
    if (step.pause > 0) await simulation.clock.pass(step.pause);
  }

  /** What has to be so after a command in which nothing went wrong, whatever went wrong before. */
  private judge(command: Command, ended: Ended, before: RolloutRecord | undefined): void {
    if ("killed" in ended) return;
    const { stage } = this;
    const name = "error" in ended ? ended.error.name : "";
    if (name === "StackLocked") stage.note(`locked, and nobody else is there: ${inWords(ended)}`);
    if (command.do === "deploy") {
      const fails = this.schedule.versions.find((version) => version.name === command.version)?.fails === true;
      // A service whose end was broken off is ended first: what comes then is a first deploy.
      const ending = stage.simulation.world.clusters.size === 1 && stage.record === undefined;
      const rejected = name === "Refused" || name === "Refusal" ? command.retry !== true : false;
      if (rejected && /not tried again/.test(inWords(ended))) return;
      // What a retry of it left is ended first.
      const known = before?.rejected?.some(({ version }) => version === command.version) === true;
      if (known && command.retry !== true && name === "RolledBack") stage.expectAlone(before.primary.name);
      else if (name !== "" && !(fails && (name === "RolledBack" || before === undefined || ending))) {
        stage.note(`a deploy without a fault failed: ${inWords(ended)}`);
      } else if (name === "RolledBack" && before !== undefined) stage.expectAlone(before.primary.name);
      else if ("result" in ended && ended.result === "held")
        this.expectWeight(command.version, command.canaryPercent ?? 0);
      else if ("result" in ended) stage.expectAlone(command.version);
    }
    if (command.do === "rollback" && name !== "" && name !== "Refused") {
      stage.note(`a rollback without a fault failed: ${inWords(ended)}`);
    } else if (command.do === "rollback" && name === "" && before !== undefined) stage.expectAlone(before.primary.name);
    if (command.do === "terminate" && name !== "") stage.note(`a terminate without a fault failed: ${inWords(ended)}`);
  }

  private async settle(): Promise<void> {
    const { stage } = this;
    const { world, clock } = stage.simulation;
    const { last } = this.schedule;
    world.broken.clear();
    if (stage.simulation.balancer) stage.simulation.balancer.lies = false;
    await clock.pass(settleMs);
    const ended = await stage.carryOut({ do: "deploy", version: last, retry: true });
    this.steps.push(`last: deploy version=${last} => ${inWords(ended)}`);
    if ("error" in ended) return stage.note(`the last command failed: ${inWords(ended)}`);
    await stage.expectAtRest(last);
  }

  private expectWeight(version: string, percent: number): void {
    const weights = this.stage.simulation.balancer?.weights() ?? {};
    if (weights[version] !== percent)
      this.stage.note(`held at ${percent}%, and the weights are ${JSON.stringify(weights)}`);
  }

  private instant(what: string, random: Random): void {
    const { stage } = this;
    this.instants += 1;
    for (const fault of [...this.faults]) {
      if (fault.at > this.instants) continue;
      const { simulation, driver, interruption } = stage;
      const primary = stage.record && `simulated-${stage.record.primary.cluster}`;
      const versionOf = (cluster: string) => stage.versionOf(cluster)?.name;
      if (!strike(fault.what, { simulation, driver, interruption, primary, versionOf, random })) continue;
      this.faults = this.faults.filter((each) => each !== fault);
      this.fired.push(`${fault.what} ${what}`);
      simulation.world.note(`*** ${fault.what} ${what}`);
    }
  }

  /** What is still wrong with the world and no command can be blamed for. */
  private harms(): string {
    const { world } = this.stage.simulation;
    const dead = [...world.clusters.values()].filter(({ runs }) => !runs).map(({ name }) => `${name} is dead`);
    return [...dead, ...world.broken].join(", ");
  }
}
