import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { RolloutRecord } from "../../components/record";
import { type Effect, effectChannel } from "../../provider/effects";
import { exitCodeOf } from "../../rollout/errors";
import type { Instant, Victim } from "../chaos/crash";
import { type Case, describeCase } from "../chaos/matrix";
import { Random } from "../chaos/random";
import type { Scenario } from "../chaos/scenarios";
import type { Command, Version } from "./schedule";
import { type Ended, inWords, onStage, Stage } from "./stage";

/** What became of a case. */
export interface CaseReport {
  violations: string[];
  /** How the command ended that was broken off, and the same one again. */
  ends: string[];
  /** Whether there was anything to kill. */
  reached: boolean;
  /** Everything that took place, with the seconds of the simulated time. */
  trace: string[];
  /** All that rayshift published since the first deploy. */
  effects: Effect[];
  /** How the commands ended after that, as their exit codes; -1: killed. */
  codes: number[];
  /** What the stack then knows of the service. */
  record: RolloutRecord | undefined;
  /** Folder of a version's cluster. */
  directoryOf: (version: string) => string;
}

const [primary, canary] = ["v1", "v2"];
const replicas = 4;
/** The share of the requests at which a canary that is to break does so. */
const breaksAtPercent = 50;
const victims: readonly Victim[] = ["driver", "engine", "provider", "haproxy"];

/** Every instant of a scenario's command with every process that lives then; the code itself tells of the instants. */
export async function casesOnFakes(scenario: Scenario): Promise<Case[]> {
  const broken = new BrokenOff(scenario);
  await broken.run();
  if (broken.stage.violations.length > 0) throw new Error(`${scenario.name}: ${broken.stage.violations.join("\n")}`);
  return broken.cases;
}

/** Runs a scenario on a world of its own, kills at the instant, gives the same command again, and looks at what is left. */
export async function runCase(
  { scenario, ...kill }: Pick<Case, "scenario"> & Partial<Pick<Case, "at" | "victim">>,
  traces = false,
): Promise<CaseReport> {
  const { at, victim } = kill;
  const broken = new BrokenOff(scenario, at && victim && { at, victim });
  await broken.run(traces);
  const { ends, stage, reached, effects, codes, record } = broken;
  const { simulation, violations } = stage;
  const directoryOf = (version: string) => simulation.directoryOf(`cluster-${version}`);
  return { violations, ends, reached, trace: simulation.world.trace, effects, codes, record, directoryOf };
}

class BrokenOff {
  readonly stage: Stage;
  readonly ends: string[] = [];
  /** Those that the command met on its way. */
  readonly cases: Case[] = [];
  readonly effects: Effect[] = [];
  readonly codes: number[] = [];
  record: RolloutRecord | undefined;
  reached = false;
  private readonly counts = new Map<string, number>();
  private underway = false;
  private breaks = false;

  constructor(
    private readonly scenario: Scenario,
    private readonly kill?: { at: Instant; victim: Victim },
  ) {
    const fails = scenario.canary === "fails";
    const versions: Version[] = [primary, canary].map((name) => ({ name: name!, replicas, fails: false }));
    if (fails) versions[1]!.fails = true;
    this.stage = new Stage(new Random(1), versions);
    this.stage.onInstant = (what, when) => {
      this.breakCanary();
      // The effects of rayshift itself are published; the engine's have no other way to tell of themselves.
      if (what.startsWith("engine ")) this.instant({ name: what, detail: "", when });
    };
  }

  async run(traces = false): Promise<void> {
    const listen = (effect: unknown) => {
      this.effects.push(effect as Effect);
      this.instant(effect as Effect);
    };
    subscribe(effectChannel, listen);
    try {
      await onStage(this.stage, traces, () => this.all());
    } finally {
      unsubscribe(effectChannel, listen);
    }
  }

  private async all(): Promise<void> {
    const { before, command } = this.scenario;
    const given = before === undefined ? [] : [{ do: "deploy", version: primary! } as const, ...before(canary!)];
    for (const each of given) {
      const ended = await this.carryOut(each);
      if (!("result" in ended)) throw new Error(`no state to begin with: ${inWords(ended)}`);
      if (each === given[0]) [this.effects.length, this.codes.length] = [0, 0];
    }
    this.breaks = this.scenario.canary === "breaks";
    this.underway = true;
    const first = await this.carryOut(command(canary!));
    this.underway = false;
    const ended = this.kill === undefined ? first : await this.carryOut(command(canary!));
    this.breaks = false;
    this.ends.push(inWords(first), inWords(ended));
    if (this.scenario.canary === undefined && /^RolledBack/.test(inWords(first))) {
      this.stage.note("the version was rejected for the kill");
    }
    this.judge(ended);
    this.record = this.stage.record;
    const refused = "error" in ended && /^Refus/.test(ended.error.name);
    if (refused && this.kill?.victim === "haproxy") await this.repair();
    await this.rest();
  }

  private async carryOut(command: Command): Promise<Ended> {
    const ended = await this.stage.carryOut(command);
    this.codes.push("killed" in ended ? -1 : "error" in ended ? exitCodeOf(ended.error) : 0);
    return ended;
  }

  /** The same command again has to succeed, or to say that nothing is left to do. */
  private judge(ended: Ended): void {
    const words = inWords(ended);
    const { leaves, canary: fault } = this.scenario;
    const good =
      "result" in ended
        ? fault === undefined
        : fault !== undefined
          ? /^RolledBack|was rolled back at .* not tried again/s.test(words)
          : leaves === "primary" && /no rollout is under way/.test(words);
    if (!good) this.stage.note(`the same command again: ${words}`);
  }

  /** A command that had nothing left to do repairs nothing; the next one that says what is to run does. */
  private async repair(): Promise<void> {
    const ended = await this.stage.carryOut({ do: "deploy", version: primary! });
    if (!("result" in ended)) this.stage.note(`the deploy of what runs: ${inWords(ended)}`);
  }

  private async rest(): Promise<void> {
    const { stage } = this;
    const { leaves } = this.scenario;
    const { world, backend, balancer, clock } = stage.simulation;
    // Nodes that are not needed any more go by themselves.
    await clock.pass(nodesGoneMs);
    if (leaves !== "neither") return stage.expectAtRest(leaves === "primary" ? primary! : canary!);
    const left = [...world.clusters.values()].map(({ name }) => name);
    if (left.length > 0 || balancer !== undefined || backend.exists) {
      stage.note(`left: ${[...left, balancer ? "HAProxy" : "", backend.exists ? "the stack" : ""].join(" ")}`);
    }
  }

  private breakCanary(): void {
    const { balancer, world, breaks } = this.stage.simulation;
    if (this.breaks && (balancer?.weights()[canary!] ?? 0) >= breaksAtPercent) world.broken.add(breaks(canary!));
  }

  private instant({ name, detail, when }: Effect): void {
    if (!this.underway) return;
    const key = `${when} ${name}`;
    const occurrence = this.counts.get(key) ?? 0;
    this.counts.set(key, occurrence + 1);
    const at: Instant = { name, occurrence, when };
    const { scenario, kill } = this;
    if (kill === undefined) {
      const living = victims.filter((victim) => this.lives(victim));
      this.cases.push(...living.map((victim): Case => ({ scenario, at, victim, detail })));
    } else if (kill.at.name === name && kill.at.when === when && kill.at.occurrence === occurrence) {
      this.reached = this.lives(kill.victim);
      this.stage.simulation.world.note(`*** ${describeCase({ ...kill, scenario, detail })}`);
      this.strike(kill.victim);
    }
  }

  private lives(victim: Victim): boolean {
    const { underway } = this.stage.simulation.cli;
    if (victim === "driver") return this.stage.driver.alive;
    if (victim === "haproxy") return this.stage.simulation.balancer !== undefined;
    return underway !== undefined && (victim === "engine" ? underway.process : underway.engine.provider).alive;
  }

  private strike(victim: Victim): void {
    const { driver, simulation } = this.stage;
    const { underway } = simulation.cli;
    if (victim === "driver") driver.end();
    else if (victim === "engine") underway?.process.end();
    else if (victim === "provider") underway?.engine.provider.end();
    else if (simulation.balancer) simulation.world.balancers.delete(simulation.balancer.directory);
  }
}

const nodesGoneMs = 5000;
