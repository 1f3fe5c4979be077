import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { effect } from "../effects";
import { identify, type ProcessIdentity, signalProcess } from "./process";

/** In the environment of every process of a cluster: the cluster's directory. */
export const CLUSTER_VARIABLE = "RAYSHIFT_CLUSTER_DIRECTORY";

export interface ClusterProcess extends ProcessIdentity {
  parent: number;
  /** The kernel's short name of the process, at most 15 characters. */
  name: string;
}

const GRACE_MS = 8000;
const KILL_MS = 10_000;
const POLL_MS = 100;

/** Ray's temporary directory of a cluster: part of the command line of each of its raylets. */
export function rayDirectory(directory: string): string {
  return `${directory}/ray`;
}

/**
 * All processes of the cluster: those that carry its variable, Ray's own that work inside its directory (a process that
 * sets its title loses its environment from /proc), and all descendants of these. A person's shell or pager in the
 * directory is none of them.
 */
export function clusterProcesses(directory: string): ClusterProcess[] {
  const all = pids().flatMap((pid) => look(pid) ?? []);
  const members = new Set(all.filter(({ pid, name }) => belongs(directory, pid, name)).map(({ pid }) => pid));
  for (let grown = members.size > 0; grown; ) {
    const children = all.filter(({ pid, parent }) => members.has(parent) && !members.has(pid));
    for (const { pid } of children) members.add(pid);
    grown = children.length > 0;
  }
  return all
    .filter(({ pid }) => members.has(pid))
    .flatMap((found) => {
      const identity = identify(found.pid);
      return identity === undefined ? [] : [{ ...identity, parent: found.parent, name: found.name }];
    });
}

/**
 * How many worker nodes of the cluster run, by their raylets. Some ms of CPU time, and not a word to Ray. A raylet that
 * starts a process is there twice for a moment: until that process becomes another program it looks like its parent.
 */
export function liveWorkerCount(directory: string): number {
  const mark = `--temp_dir=${rayDirectory(directory)}`;
  const raylets = pids().flatMap((pid) => {
    if (readProc(pid, "comm")?.trim() !== "raylet") return [];
    // One that ends loses its words at any moment, so they are read once.
    const words = readProc(pid, "cmdline")?.split("\0") ?? [];
    const isWorker = words.includes(mark) && !words.includes("--head");
    return (isWorker && identify(pid) !== undefined && look(pid)) || [];
  });
  const all = new Set(raylets.map(({ pid }) => pid));
  return raylets.filter(({ parent }) => !all.has(parent)).length;
}

/**
 * Ends all processes of the cluster and returns once none is left: first asked to, then killed. The head, when it is
 * asked, ends the others in Ray's own order.
 *
 * @param graceMs from when on they are killed; 0 for a cluster that is broken already
 * @throws when a process outlives SIGKILL, with its pid
 */
export async function endCluster(directory: string, graceMs = GRACE_MS): Promise<void> {
  if (clusterProcesses(directory).length === 0) return;
  await effect("end a cluster's processes", directory, () => endProcesses(directory, graceMs));
}

async function endProcesses(directory: string, graceMs: number): Promise<void> {
  const graceEnd = Date.now() + graceMs;
  const killEnd = graceEnd + KILL_MS;
  const asked = new Set<number>();
  for (;;) {
    const left = clusterProcesses(directory);
    if (left.length === 0) return;
    const kill = Date.now() >= graceEnd;
    if (Date.now() >= killEnd) {
      const names = left.map(({ name, pid }) => `${name} (pid ${pid})`).join(", ");
      throw new Error(`processes of the Ray cluster in ${directory} do not end: ${names}. End them and run it again.`);
    }
    for (const each of kill ? left : leaders(left)) {
      if (!kill && asked.has(each.pid)) continue;
      asked.add(each.pid);
      signalProcess(each, kill ? "SIGKILL" : "SIGTERM");
    }
    await sleep(POLL_MS);
  }
}

/** Those whose parent is none of the cluster's: the head, or what an ended head has left behind. */
function leaders(processes: ClusterProcess[]): ClusterProcess[] {
  const known = new Set(processes.map(({ pid }) => pid));
  return processes.filter(({ parent }) => !known.has(parent));
}

function belongs(directory: string, pid: number, name: string): boolean {
  if (readProc(pid, "environ")?.split("\0").includes(`${CLUSTER_VARIABLE}=${directory}`)) return true;
  if (!/^ray(::|-)/.test(name)) return false;
  const cwd = workingDirectory(pid);
  return cwd === directory || cwd?.startsWith(`${directory}/`) === true;
}

function look(pid: number): { pid: number; parent: number; name: string } | undefined {
  const stat = readProc(pid, "stat");
  if (stat === undefined) return undefined;
  // The name stands in parentheses and may itself hold spaces and parentheses.
  const end = stat.lastIndexOf(")");
  const parent = Number(stat.slice(end + 2).split(" ")[1]);
  return { pid, parent, name: stat.slice(stat.indexOf("(") + 1, end) };
}

function pids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function workingDirectory(pid: number): string | undefined {
  try {
    // The kernel marks a directory that is gone.
    return readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, "");
  } catch {
    return undefined;
  }
}

/** Processes come and go while they are looked at: what cannot be read is not there. */
function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return undefined;
  }
}
