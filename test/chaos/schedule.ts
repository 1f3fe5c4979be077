import type { Victim } from "./crash";
import { Random } from "./random";

/** A version, told by its place: the one in charge when the schedule begins, and two others. */
export type Which = "first" | "second" | "third";

/** What a version does: its constructor raises, or its replicas become unhealthy after a while. */
export type Quality = "good" | "fails" | "breaks";

export type Command =
  | { kind: "deploy"; which: Which; quality: Quality; canaryPercent?: number; surge?: number }
  | { kind: "rollback"; surge?: number };

/** What happens while a command runs. */
export type Fault =
  /** At the n-th effect that the command's processes publish. */
  { kind: "kill"; victim: Victim; effect: number } | { kind: "interrupt"; afterMs: number };

/** What somebody else does between two commands. */
export type Meddling = { kind: "weights"; percent: number } | { kind: "head"; of: "primary" | "canary" };

export interface Step {
  before?: Meddling;
  command: Command;
  fault?: Fault;
}

const SURGES = [undefined, undefined, 25, 50, 50, 100];
const PERCENTS = [undefined, undefined, 0, 20, 50, 50, 80, 100];
const VICTIMS: readonly Victim[] = ["driver", "engine", "provider", "haproxy"];
const MOST_EFFECTS = 60;
const LONGEST_MS = 15_000;

/** The commands and faults of a seed. */
export function scheduleOf(seed: number): Step[] {
  const random = new Random(seed);
  return Array.from({ length: 3 + random.below(3) }, () => stepOf(random));
}

function stepOf(random: Random): Step {
  const command = commandOf(random);
  const before = random.chance(20) ? meddlingOf(random) : undefined;
  const fault = random.chance(60) ? faultOf(random) : undefined;
  return { ...(before === undefined ? {} : { before }), command, ...(fault === undefined ? {} : { fault }) };
}

function commandOf(random: Random): Command {
  const surge = random.pick(SURGES);
  const withSurge = surge === undefined ? {} : { surge };
  if (random.chance(25)) return { kind: "rollback", ...withSurge };
  const which = random.pick(["first", "second", "second", "second", "third"] as const);
  const quality =
    which === "first" ? "good" : random.pick(["good", "good", "good", "good", "fails", "breaks"] as const);
  const canaryPercent = random.pick(PERCENTS);
  return { kind: "deploy", which, quality, ...(canaryPercent === undefined ? {} : { canaryPercent }), ...withSurge };
}

function faultOf(random: Random): Fault {
  if (random.chance(15)) return { kind: "interrupt", afterMs: random.below(LONGEST_MS) };
  return { kind: "kill", victim: random.pick(VICTIMS), effect: random.below(MOST_EFFECTS) };
}

function meddlingOf(random: Random): Meddling {
  if (random.chance(60)) return { kind: "weights", percent: random.pick([0, 10, 50, 90, 100]) };
  return { kind: "head", of: random.pick(["primary", "canary"] as const) };
}

/** A step in one line. */
export function describeStep({ before, command, fault }: Step): string {
  const words: (string | undefined)[] = [
    before?.kind === "weights" ? `[somebody gives the first server ${before.percent}%]` : undefined,
    before?.kind === "head" ? `[the ${before.of}'s head is killed]` : undefined,
    command.kind === "deploy" ? `deploy ${command.which}` : "rollback",
    command.kind === "deploy" && command.quality !== "good" ? `(${command.quality})` : undefined,
    command.kind === "deploy" && command.canaryPercent !== undefined
      ? `--canary-percent ${command.canaryPercent}`
      : undefined,
    command.surge === undefined ? undefined : `--max-surge-percent ${command.surge}`,
    fault?.kind === "kill" ? `[${fault.victim} killed at effect ${fault.effect}]` : undefined,
    fault?.kind === "interrupt" ? `[interrupted after ${fault.afterMs} ms]` : undefined,
  ];
  return words.filter((word) => word !== undefined).join(" ");
}

/** The invariants that a schedule may break, because of what is done to it and not by what rayshift does. */
export function excused(steps: readonly Step[]): Set<string> {
  const some = new Set<string>();
  for (const { before, command } of steps) {
    // Somebody sends requests where nothing takes them, or kills what takes them.
    if (before !== undefined) for (const name of ["I1", "I3", "I4", "I5", "I6"]) some.add(name);
    if (command.kind !== "deploy" || command.quality === "good") continue;
    // Replicas that end by themselves serve nobody; the way back at once does without the order.
    for (const name of ["I1", "I2", "I3", "I6"]) some.add(name);
  }
  return some;
}

/** The most that the capacities together may exceed 100, whichever command runs: without a surge both are whole. */
export function mostSurge(steps: readonly Step[]): number {
  return Math.max(...steps.map(({ command }) => command.surge ?? 100));
}
