import { isDeepStrictEqual } from "node:util";
import type { RolloutRecord } from "../../components/record";
import { unwrap } from "../../provider/wire";
import { deploy } from "../../rollout/deploy";
import { rollback } from "../../rollout/rollback";
import { openSession } from "../../rollout/session";
import { status } from "../../rollout/status";
import { terminate } from "../../rollout/terminate";
import { Random } from "../chaos/random";
import { FakeProcess } from "../fake/process";
import { strike } from "./faults";
import { Invariants, type Limits } from "./invariants";
import { type Command, describe, type Fault, type Schedule, type Step } from "./schedule";
import { Simulation } from "./service";

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

type Ended = { result: unknown } | { error: Error } | { killed: true };

/** Errors that people are meant to see. */
const foreseen = [
  "RolledBack",
  "DeadlinePassed",
  "StackLocked",
  "UpdateFailed",
  "EngineEnded",
  "Refused",
  "Refusal",
  "InvalidInput",
  "AbortError",
];
const mostMs = 3 * 3_600_000;
const settleMs = 45_000;

/** Runs a schedule on fakes, and at its end one command that has to put everything right. */
export async function runSchedule(schedule: Schedule, traces = false): Promise<Report> {
  // Loaded before the simulated time begins: the program asks for it when it runs.
  await import("../../components/local/index.js");
  const run = new Run(schedule);
  // The SDK takes a stack of every promise, which is most of the time that a program takes.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = traces ? stackTraceLimit : 0;
  try {
    await run.all();
  } catch (error) {
    run.note(`the simulation failed: ${(error as Error).stack}`);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    run.simulation.close();
  }
  return run.report();
}

class Run {
  readonly simulation: Simulation;
  private readonly invariants: Invariants;
  private readonly violations: string[] = [];
  private readonly steps: string[] = [];
  /** What the processes were told: drivers their command's flags, updates whether everything goes at once. */
  private readonly told = new WeakMap<FakeProcess, { surge?: number | undefined; atOnce: boolean }>();
  private largestSurge = 100;
  private wentAtOnce = false;
  /** Whether the command names a canary percent. */
  private holds = false;
  private instants = 0;
  private faults: Fault[] = [];
  private fired: string[] = [];
  private driver = new FakeProcess("nobody");
  private interruption = new AbortController();

  constructor(private readonly schedule: Schedule) {
    const random = new Random(schedule.seed);
    this.simulation = new Simulation(random);
    const { world } = this.simulation;
    this.invariants = new Invariants(
      this.simulation,
      () => this.limits(),
      (cluster) => this.versionOf(cluster)?.replicas ?? 0,
      (cluster) => {
        const { name = "", fails = true } = this.versionOf(cluster) ?? {};
        return fails || world.broken.has(this.simulation.breaks(name));
      },
    );
    world.onInstant = (what, when) => this.instant(`${when} ${what}`, random);
    this.simulation.onUpdate = ({ waypoint }) => {
      const atOnce = waypoint !== undefined && JSON.parse(waypoint).immediate === true;
      if (FakeProcess.current) this.told.set(FakeProcess.current, { atOnce });
    };
  }

  report(): Report {
    const { trace, clock } = this.simulation.world;
    const seconds = (clock.now - Date.UTC(2026, 0, 31, 12)) / 1000;
    const violations = [...this.violations, ...this.invariants.violations];
    return {
      seed: this.schedule.seed,
      violations,
      steps: this.steps,
      trace,
      effects: this.invariants.effects,
      seconds,
    };
  }

  note(violation: string): void {
    this.simulation.world.note(`!!! ${violation}`);
    this.violations.push(violation);
  }

  async all(): Promise<void> {
    for (const step of this.schedule.steps) {
      await this.step(step);
      if (this.violations.length + this.invariants.violations.length > 0) return;
    }
    await this.settle();
  }

  private async step(step: Step): Promise<void> {
    const { command } = step;
    if (this.simulation.balancer) this.simulation.balancer.lies = false;
    const before = this.record;
    const harmed = this.harms();
    const ended = await this.carryOut(command, step.faults);
    this.steps.push(`${describe(step)} => ${inWords(ended)}${this.fired.map((each) => ` [${each}]`).join("")}`);
    if (this.fired.length === 0 && harmed === "" && this.harms() === "") this.judge(command, ended, before);
    if (step.pause > 0) await this.simulation.clock.pass(step.pause);
  }

  private async carryOut(command: Command, faults: readonly Fault[]): Promise<Ended> {
    const { clock, world } = this.simulation;
    world.note(`--- ${JSON.stringify(command)}`);
    this.driver = new FakeProcess(command.do);
    this.interruption = new AbortController();
    const surge = "maxSurgePercent" in command ? command.maxSurgePercent : undefined;
    this.holds = "canaryPercent" in command;
    this.told.set(this.driver, { surge, atOnce: false });
    [this.instants, this.faults, this.fired] = [0, [...faults], []];
    const { driver } = this;
    const work = driver
      .run(() => this.invoke(command))
      .then(
        (result) => ({ result }),
        (error: Error) => ({ error }),
      );
    const killed = new Promise<Ended>((resolve) => driver.onEnd(() => resolve({ killed: true })));
    const ended = await clock.run(Promise.race([work, killed]), mostMs);
    driver.end();
    this.faults = [];
    if ("error" in ended && !foreseen.includes(ended.error.name)) this.note(`unforeseen: ${ended.error.stack}`);
    world.note(`--- ${inWords(ended)}`);
    return ended;
  }

  private async invoke(command: Command): Promise<unknown> {
    const { simulation } = this;
    const options = { folder: simulation.folder, signal: this.interruption.signal };
    const { do: verb, ...flags } = command;
    if (command.do === "deploy") {
      const version = this.schedule.versions.find(({ name }) => name === command.version)!;
      const { version: _name, do: _verb, ...how } = command;
      return (await deploy({ ...options, service: simulation.service(version), ...how })).outcome;
    }
    if (verb === "rollback") return (await rollback({ ...options, ...flags })).outcome;
    if (verb === "terminate") return (await terminate(options)).outcome;
    if (verb === "status") return (await status(options)).state;
    await (await openSession(options)).stack.update({ message: "by hand", signal: options.signal });
    return "updated";
  }

  /** What has to be so after a command in which nothing went wrong, whatever went wrong before. */
  private judge(command: Command, ended: Ended, before: RolloutRecord | undefined): void {
    if ("killed" in ended) return;
    const name = "error" in ended ? ended.error.name : "";
    if (name === "StackLocked") this.note(`locked, and nobody else is there: ${inWords(ended)}`);
    if (command.do === "deploy") {
      const fails = this.schedule.versions.find((version) => version.name === command.version)?.fails === true;
      const rejected = name === "Refused" || name === "Refusal" ? command.retry !== true : false;
      if (rejected && /not tried again/.test(inWords(ended))) return;
      if (name !== "" && !(fails && (name === "RolledBack" || before === undefined))) {
        this.note(`a deploy without a fault failed: ${inWords(ended)}`);
      } else if (name === "RolledBack" && before !== undefined) this.expectAlone(before.primary.name);
      else if ("result" in ended && ended.result === "held")
        this.expectWeight(command.version, command.canaryPercent ?? 0);
      else if ("result" in ended) this.expectAlone(command.version);
    }
    if (command.do === "rollback" && name !== "" && name !== "Refused") {
      this.note(`a rollback without a fault failed: ${inWords(ended)}`);
    } else if (command.do === "rollback" && name === "" && before !== undefined) this.expectAlone(before.primary.name);
    if (command.do === "terminate" && name !== "") this.note(`a terminate without a fault failed: ${inWords(ended)}`);
  }

  private async settle(): Promise<void> {
    const { world, clock } = this.simulation;
    const { last } = this.schedule;
    world.broken.clear();
    if (this.simulation.balancer) this.simulation.balancer.lies = false;
    await clock.pass(settleMs);
    const ended = await this.carryOut({ do: "deploy", version: last, retry: true }, []);
    this.steps.push(`last: deploy version=${last} => ${inWords(ended)}`);
    if ("error" in ended) return this.note(`the last command failed: ${inWords(ended)}`);
    this.expectAlone(last);
    const { effects } = this.invariants;
    const again = await this.carryOut({ do: "deploy", version: last }, []);
    if (!isDeepStrictEqual(again, { result: "unchanged" })) this.note(`the same deploy again: ${inWords(again)}`);
    const up = await this.carryOut({ do: "up" }, []);
    if (!isDeepStrictEqual(up, { result: "updated" })) this.note(`an update by hand after it: ${inWords(up)}`);
    if (this.invariants.effects !== effects) this.note("the same again had an effect");
    const state = await this.carryOut({ do: "status" }, []);
    if (!isDeepStrictEqual(state, { result: "RUNNING" })) this.note(`status after it: ${inWords(state)}`);
  }

  private expectAlone(version: string): void {
    const { world, balancer, backend } = this.simulation;
    const clusters = [...world.clusters.values()].map(({ name, config, serve, runs }) => {
      return `${name} at ${config?.target_capacity} with ${serve.workers().length} nodes${runs ? "" : ", dead"}`;
    });
    const replicas = this.versionOf(`simulated-${version}`)?.replicas;
    const expected = [`simulated-${version} at null with ${replicas} nodes`];
    if (!isDeepStrictEqual(clusters, expected)) this.note(`what runs is ${clusters.join("; ")} and not ${expected}`);
    const weights = balancer?.weights();
    if (!isDeepStrictEqual(weights, { [version]: 100 }))
      this.note(`weights are ${JSON.stringify(weights)}, not all ${version}`);
    if (backend.pending.length > 0 || backend.lock !== undefined) this.note("the stack is not clean");
    const { primary, canary } = this.record ?? {};
    if (primary?.name !== version || canary !== undefined)
      this.note(`the record says ${primary?.name} with ${canary?.name}`);
  }

  private expectWeight(version: string, percent: number): void {
    const weights = this.simulation.balancer?.weights() ?? {};
    if (weights[version] !== percent) this.note(`held at ${percent}%, and the weights are ${JSON.stringify(weights)}`);
  }

  private get record(): RolloutRecord | undefined {
    return (unwrap(this.simulation.backend.outputs) as { rollout?: RolloutRecord }).rollout;
  }

  private versionOf(cluster: string) {
    return this.schedule.versions.find(
      ({ name }) => cluster === `simulated-${name}` || cluster === `simulated-${name}-2`,
    );
  }

  /** By whoever has the effect: an update that lost its driver still has that command's flags. */
  private limits(): Limits {
    let [surge, atOnce]: [number | undefined, boolean] = [undefined, false];
    for (let process = FakeProcess.current; process !== undefined; process = process.parent) {
      const told = this.told.get(process);
      surge ??= told?.surge;
      atOnce ||= told?.atOnce === true;
    }
    const { canary, surge: recorded } = this.record ?? {};
    // An unhealthy canary under a surge that nobody holds loses its traffic at once, by the driver itself.
    if (FakeProcess.current === this.driver) atOnce = !this.holds && (surge ?? recorded) !== undefined;
    return {
      surge: surge ?? (canary === undefined ? 100 : (recorded ?? 100)),
      atOnce,
      first: this.record === undefined,
      largestSurge: this.largestSurge,
    };
  }

  private instant(what: string, random: Random): void {
    const { surge, atOnce } = this.limits();
    const alone = this.simulation.world.clusters.size < 2;
    this.largestSurge = alone ? surge : Math.max(this.largestSurge, surge);
    this.wentAtOnce = atOnce || (this.wentAtOnce && !alone);
    if (!this.wentAtOnce) this.invariants.checkNodes();
    this.instants += 1;
    for (const fault of [...this.faults]) {
      if (fault.at > this.instants) continue;
      const { simulation, driver, interruption } = this;
      const primary = this.record && `simulated-${this.record.primary.cluster}`;
      const versionOf = (cluster: string) => this.versionOf(cluster)?.name;
      if (!strike(fault.what, { simulation, driver, interruption, primary, versionOf, random })) continue;
      this.faults = this.faults.filter((each) => each !== fault);
      this.fired.push(`${fault.what} ${what}`);
      this.simulation.world.note(`*** ${fault.what} ${what}`);
    }
  }

  /** What is still wrong with the world and no command can be blamed for. */
  private harms(): string {
    const { world } = this.simulation;
    const dead = [...world.clusters.values()].filter(({ runs }) => !runs).map(({ name }) => `${name} is dead`);
    return [...dead, ...world.broken].join(", ");
  }
}

function inWords(ended: Ended): string {
  if ("killed" in ended) return "killed";
  return "error" in ended ? `${ended.error.name}: ${ended.error.message.slice(0, 400)}` : String(ended.result);
}
