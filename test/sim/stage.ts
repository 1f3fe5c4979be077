import { isDeepStrictEqual } from "node:util";
import type { RolloutRecord } from "../../components/record";
import { unwrap } from "../../provider/wire";
import { deploy } from "../../rollout/deploy";
import { rollback } from "../../rollout/rollback";
import { openSession } from "../../rollout/session";
import { status } from "../../rollout/status";
import { terminate } from "../../rollout/terminate";
import type { Random } from "../chaos/random";
import { FakeProcess } from "../fake/process";
import { Invariants, type Limits } from "./invariants";
import type { Command, Version } from "./schedule";
import { Simulation } from "./service";

/** How a command ended. */
export type Ended = { result: unknown } | { error: Error } | { killed: true };

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

/** Runs `work` with a stage, and ends everything of it; what the simulation itself breaks at is a problem as well. */
export async function onStage(stage: Stage, traces: boolean, work: () => Promise<void>): Promise<void> {
  // Loaded before the simulated time begins: the program asks for it when it runs.
  await import("../../components/local/index.js");
  // The SDK takes a stack of every promise, which is most of the time that a program takes.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = traces ? stackTraceLimit : 0;
  try {
    await work();
  } catch (error) {
    stage.note(`the simulation failed: ${(error as Error).stack}`);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    stage.simulation.close();
  }
}

/** A simulated service, the commands that people give it, and the invariants around every effect that those have. */
export class Stage {
  readonly simulation: Simulation;
  /** Process of the command that runs, or ran last. */
  driver = new FakeProcess("nobody");
  /** Ctrl-C of that command. */
  interruption = new AbortController();
  /** Called at every instant of the world, after the nodes were looked at. */
  onInstant: (what: string, when: "before" | "after") => void = () => {};
  private readonly invariants: Invariants;
  private readonly noted: string[] = [];
  /** What the processes were told: drivers their command's flags, updates whether everything goes at once. */
  private readonly told = new WeakMap<FakeProcess, { surge?: number | undefined; atOnce: boolean }>();
  private largestSurge = 100;
  private wentAtOnce = false;
  /** Whether the command names a canary percent. */
  private holds = false;

  constructor(
    random: Random,
    private readonly versions: readonly Version[],
  ) {
    this.simulation = new Simulation(random);
    const { world } = this.simulation;
    this.invariants = new Invariants(
      this.simulation,
      () => this.limits(),
      () => [this.record?.primary, this.record?.canary].flatMap((each) => (each ? `simulated-${each.cluster}` : [])),
      (cluster) => this.versionOf(cluster)?.replicas ?? 0,
      (cluster) => {
        const { name = "", fails = true } = this.versionOf(cluster) ?? {};
        return fails || world.broken.has(this.simulation.breaks(name));
      },
    );
    world.onInstant = (what, when) => {
      this.lookAtNodes();
      this.onInstant(what, when);
    };
    this.simulation.onUpdate = ({ waypoint }) => {
      const atOnce = waypoint !== undefined && JSON.parse(waypoint).immediate === true;
      if (FakeProcess.current) this.told.set(FakeProcess.current, { atOnce });
    };
  }

  /** Everything that is not as it should be. */
  get violations(): string[] {
    return [...this.noted, ...this.invariants.violations];
  }

  get effects(): number {
    return this.invariants.effects;
  }

  note(violation: string): void {
    this.simulation.world.note(`!!! ${violation}`);
    this.noted.push(violation);
  }

  /** Gives a command, and waits until it is done or killed. */
  async carryOut(command: Command): Promise<Ended> {
    const { clock, world } = this.simulation;
    world.note(`--- ${JSON.stringify(command)}`);
    this.driver = new FakeProcess("driver");
    this.interruption = new AbortController();
    const surge = "maxSurgePercent" in command ? command.maxSurgePercent : undefined;
    this.holds = "canaryPercent" in command;
    this.told.set(this.driver, { surge, atOnce: false });
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
    if ("error" in ended && !foreseen.includes(ended.error.name)) this.note(`unforeseen: ${ended.error.stack}`);
    world.note(`--- ${inWords(ended)}`);
    return ended;
  }

  private async invoke(command: Command): Promise<unknown> {
    const { simulation } = this;
    const options = { folder: simulation.folder, signal: this.interruption.signal };
    const { do: verb, ...flags } = command;
    if (command.do === "deploy") {
      const version = this.versions.find(({ name }) => name === command.version)!;
      const { version: _name, do: _verb, ...how } = command;
      return (await deploy({ ...options, service: simulation.service(version), ...how })).outcome;
    }
    if (verb === "rollback") return (await rollback({ ...options, ...flags })).outcome;
    if (verb === "terminate") return (await terminate(options)).outcome;
    if (verb === "status") return (await status(options)).state;
    await (await openSession(options)).stack.update({ message: "by hand", signal: options.signal });
    return "updated";
  }

  /** The version runs alone, as everybody says, and nothing is left to do. */
  async expectAtRest(version: string): Promise<void> {
    this.expectAlone(version);
    const { effects } = this;
    const again = await this.carryOut({ do: "deploy", version });
    if (!isDeepStrictEqual(again, { result: "unchanged" })) this.note(`the same deploy again: ${inWords(again)}`);
    const up = await this.carryOut({ do: "up" });
    if (!isDeepStrictEqual(up, { result: "updated" })) this.note(`an update by hand after it: ${inWords(up)}`);
    if (this.effects !== effects) this.note("the same again had an effect");
    const state = await this.carryOut({ do: "status" });
    if (!isDeepStrictEqual(state, { result: "RUNNING" })) this.note(`status after it: ${inWords(state)}`);
  }

  expectAlone(version: string): void {
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

  get record(): RolloutRecord | undefined {
    return (unwrap(this.simulation.backend.outputs) as { rollout?: RolloutRecord }).rollout;
  }

  /** The version that a cluster of this name runs. */
  versionOf(cluster: string): Version | undefined {
    return this.versions.find(({ name }) => cluster === `simulated-${name}` || cluster === `simulated-${name}-2`);
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

  private lookAtNodes(): void {
    const { surge, atOnce } = this.limits();
    const alone = this.simulation.world.clusters.size < 2;
    this.largestSurge = alone ? surge : Math.max(this.largestSurge, surge);
    this.wentAtOnce = atOnce || (this.wentAtOnce && !alone);
    if (!this.wentAtOnce) this.invariants.checkNodes();
  }
}

export function inWords(ended: Ended): string {
  if ("killed" in ended) return "killed";
  return "error" in ended ? `${ended.error.name}: ${ended.error.message.slice(0, 400)}` : String(ended.result);
}
