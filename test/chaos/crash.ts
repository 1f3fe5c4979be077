import { subscribe } from "node:diagnostics_channel";
import { appendFileSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { type Effect, effectChannel } from "../../provider/effects";
import { identify, isAlive, processesWithArgument } from "../../provider/local/process";

/** Who is killed. */
export type Victim = "driver" | "engine" | "provider" | "haproxy";

/** One instant: before or after the n-th (from 0) effect of a name. */
export interface Instant {
  name: string;
  occurrence: number;
  when: Effect["when"];
}

/** What the processes of a command are told, as JSON in the environment. */
export interface CrashOrder {
  /** File that every effect is written to, one JSON a line. */
  log: string;
  /** HAProxy's configuration file, which tells its process from others; absent: there is none. */
  haproxyConfig?: string;
  /** Absent: effects are only written down. A number: the first instant from that line of the log on. */
  kill?: { at: Instant | number; victim: Victim };
}

/** One line of the log. */
export type LogLine = (Effect & { role: Role; pid: number }) | { killed: Victim; at: number; pids: number[] };

/** In which process an effect takes place. */
export type Role = "driver" | "provider";

export const orderVariable = "RAYSHIFT_CHAOS";

const END_MS = 5000;

export function readLog(file: string): LogLine[] {
  try {
    const lines = readFileSync(file, "utf8").split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as LogLine);
  } catch {
    return [];
  }
}

/**
 * Loaded into the driver and the provider by `--require`: writes their effects down and, at the instant that is asked
 * for, kills the victim before anything else can happen.
 */
function follow(order: CrashOrder, role: Role): void {
  const write = (line: LogLine) => appendFileSync(order.log, `${JSON.stringify(line)}\n`);
  subscribe(effectChannel, (message) => {
    const effect = message as Effect;
    const before = readLog(order.log);
    write({ role, pid: process.pid, name: effect.name, detail: effect.detail, when: effect.when });
    const { kill } = order;
    if (kill === undefined || !isDue(kill.at, effect, before) || before.some((line) => "killed" in line)) return;
    const pids = pidsOf(kill.victim, role, order);
    if (pids.length === 0) return;
    write({ killed: kill.victim, at: Date.now(), pids });
    for (const pid of pids) killNow(pid);
  });
}

function isDue(at: Instant | number, { name, when }: Effect, before: readonly LogLine[]): boolean {
  if (typeof at === "number") return before.length >= at;
  if (name !== at.name || when !== at.when) return false;
  return before.filter((line) => "name" in line && line.name === name && line.when === when).length === at.occurrence;
}

function pidsOf(victim: Victim, role: Role, { haproxyConfig }: CrashOrder): number[] {
  if (victim === "haproxy") {
    return haproxyConfig === undefined ? [] : processesWithArgument(haproxyConfig).map(({ pid }) => pid);
  }
  if (victim === role) return [process.pid];
  if (role === "driver") return [];
  if (victim === "engine") return [process.ppid];
  const { pid } = JSON.parse(process.env.RAYSHIFT_DRIVER ?? "{}") as { pid?: number };
  return pid === undefined ? [] : [pid];
}

/** Does not return before the process is gone. */
function killNow(pid: number): void {
  const victim = identify(pid);
  if (victim === undefined) return;
  process.kill(pid, "SIGKILL");
  const still = new Int32Array(new SharedArrayBuffer(4));
  for (const end = Date.now() + END_MS; isAlive(victim) && Date.now() < end; ) Atomics.wait(still, 0, 0, 2);
}

function roleOf(program = ""): Role | undefined {
  if (/(provider[/]main|fake[/]kubernetes[/]plugin)\.js$/.test(program)) return "provider";
  return /cli[/]main\.js$/.test(program) ? "driver" : undefined;
}

const role = roleOf(process.argv[1]);
const order = process.env[orderVariable];
if (role !== undefined && order !== undefined && basename(__filename) === "crash.js") follow(JSON.parse(order), role);
