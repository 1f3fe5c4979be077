import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { readRecord } from "./clusterDirectory";
import { isAlive } from "./process";

/** How a cluster shares the processors with others on this host: one that only starts makes room for those that serve. */
export type Priority = "starting" | "serving";

/**
 * Nice values. At 3 a session gets half of what one at 0 gets, as long as that one can use it: enough for Ray to
 * start in its own time limits beside other work on the host.
 */
const NICE: Record<Priority, number> = { starting: 3, serving: 0 };

/**
 * Sets the priority of a whole session by its leader's pid, processes that it starts later included. Linux divides the
 * processors among sessions first (its autogroups). Their nice values may go down again without privileges, unlike those
 * of processes, which would leave a cluster behind for good once it serves. Where there are no autogroups, as in
 * most containers, nothing changes: the order of a start and the load it brings are the same, only slower for others.
 */
export function setPriority(sessionLeader: number, priority: Priority): void {
  try {
    writeFileSync(`/proc/${sessionLeader}/autogroup`, String(NICE[priority]));
  } catch {
    // No autogroups here, or the process has just ended.
  }
}

/** The session's nice value; undefined where there are no autogroups. */
export function niceOfSession(sessionLeader: number): number | undefined {
  try {
    const nice = / nice (-?\d+)/.exec(readFileSync(`/proc/${sessionLeader}/autogroup`, "utf8"))?.[1];
    return nice === undefined ? undefined : Number(nice);
  } catch {
    return undefined;
  }
}

/** Gives a cluster that is to serve its full share, by the token file in its directory. */
export function serveAtFullPriority(dashboardTokenFile: string | undefined): void {
  const head = dashboardTokenFile === undefined ? undefined : readRecord(dirname(dashboardTokenFile))?.head;
  if (head !== undefined && isAlive(head)) setPriority(head.pid, "serving");
}
