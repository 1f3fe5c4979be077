import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** One process of this host. A pid alone may be given to another process later; with the start time it cannot be mistaken. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks since the host's boot, and that boot's id: opaque, only to be compared. */
  startTime: string;
}

const POLL_MS = 50;

/** The running process with this pid, or undefined when there is none (one that only waits to be reaped counts as gone). */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readProc(`${pid}/stat`);
  if (stat === undefined) return undefined;
  // The second field is the command in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, ticks] = [fields[0], fields[19]];
  if (state === "Z" || state === "X" || ticks === undefined) return undefined;
  return { pid, startTime: `${ticks}@${bootId()}` };
}

/** Whether exactly this process still runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime;
}

/** Sends a signal to exactly this process; false when it is gone, and nobody else is hit then. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Waits until the process is gone; false when it still runs after `timeoutMs`. */
export async function waitForEnd(identity: ProcessIdentity, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  const end = Date.now() + timeoutMs;
  while (isAlive(identity)) {
    if (Date.now() >= end) return false;
    await sleep(POLL_MS, undefined, signal === undefined ? {} : { signal });
  }
  return true;
}

/** Sends each step's signal in turn and waits its time, until the process is gone; false when it outlives the last step. */
export async function endProcess(
  identity: ProcessIdentity,
  steps: ReadonlyArray<{ signal: NodeJS.Signals; waitMs: number }>,
): Promise<boolean> {
  for (const { signal, waitMs } of steps) {
    if (!signalProcess(identity, signal) || (await waitForEnd(identity, waitMs))) return true;
  }
  return false;
}

/**
 * The processes that were started with exactly this argument. A path that only one thing uses finds its process even
 * when whoever started it was killed before it could write the pid down.
 */
export function processesWithArgument(argument: string): ProcessIdentity[] {
  return allPids()
    .filter((pid) => readProc(`${pid}/cmdline`)?.split("\0").includes(argument))
    .map(identify)
    .filter((identity) => identity !== undefined);
}

/** The running processes of this program, with the pid of whatever is the parent of each now. */
export function processesNamed(program: string): Array<ProcessIdentity & { parent: number }> {
  // The kernel keeps the first 15 bytes of a name.
  const kept = program.slice(0, 15);
  return allPids().flatMap((pid) => {
    if (readProc(`${pid}/comm`)?.trim() !== kept) return [];
    const identity = identify(pid);
    const parent = /^PPid:\s*(\d+)$/m.exec(readProc(`${pid}/status`) ?? "")?.[1];
    return identity === undefined || parent === undefined ? [] : [{ ...identity, parent: Number(parent) }];
  });
}

/** Who listens on this TCP port of the host, as "name (pid 123)"; undefined when nobody does or it may not be seen. */
export function portHolder(port: number): string | undefined {
  const sockets = new Set(["net/tcp", "net/tcp6"].flatMap((table) => listeningInodes(readProc(table) ?? "", port)));
  if (sockets.size === 0) return undefined;
  const pid = allPids().find((candidate) => openFiles(candidate).some((file) => sockets.has(file)));
  return pid === undefined ? undefined : `${readProc(`${pid}/comm`)?.trim() ?? "a process"} (pid ${pid})`;
}

function listeningInodes(table: string, port: number): string[] {
  const LISTEN = "0A";
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return table
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(suffix) && fields[3] === LISTEN)
    .map((fields) => `socket:[${fields[9]}]`);
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return "";
      }
    });
  } catch {
    return [];
  }
}

function allPids(): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number);
}

let knownBootId: string | undefined;
function bootId(): string {
  knownBootId ??= readProc("sys/kernel/random/boot_id")?.trim() ?? "";
  return knownBootId;
}

/** Processes come and go while they are looked at: what cannot be read is not there. */
function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, "utf8");
  } catch {
    return undefined;
  }
}
