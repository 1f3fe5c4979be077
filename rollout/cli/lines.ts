import { stripVTControlCharacters } from "node:util";
import type { CommandResult } from "../deploy";
import type { ClusterStatus, RolloutEvent } from "../events";
import { describeWaypoint, type Waypoint } from "../plan";
import type { ServiceStatus } from "../status";
import type { VerifiedStep } from "../verify";
import { changeLines } from "./planLines";

/** Text for people, without control characters: for pipes, logs and CI. */

/** What Ray and the engine say has lines, and sometimes colours, of its own. */
function plainLines(texts: string[]): string[] {
  return texts.flatMap((text) => {
    const [first = "", ...more] = stripVTControlCharacters(text)
      .replace(/[^\P{Cc}\n]/gu, " ")
      .split("\n");
    return [first, ...more.map((line) => `    ${line}`)];
  });
}

/** The same on one line. */
export function oneLine(text: string): string {
  return plainLines([text])
    .map((line) => line.trim())
    .join(" ");
}

const percent = (value: number | null) => (value === null ? "?" : `${value}%`);

/** What one cluster has, is asked for and is sent. */
export function clusterLine(role: string, cluster: ClusterStatus): string {
  const capacity = cluster.capacity === null ? "100%" : `${cluster.capacity}%`;
  const replicas =
    cluster.replicas === null ? "replicas ?" : `replicas ${cluster.replicas.running}/${cluster.replicas.wanted}`;
  const workers = `workers ${cluster.workers ?? "?"}`;
  const waits = cluster.waitsFor === undefined ? "" : `  ${oneLine(cluster.waitsFor)}`;
  return `${role.padEnd(8)}${cluster.version.padEnd(11)} capacity ${capacity.padEnd(6)}traffic ${percent(cluster.traffic).padEnd(6)}${replicas}  ${workers}${waits}`;
}

function clusterLines({ primary, canary }: { primary: ClusterStatus; canary?: ClusterStatus }): string[] {
  return [clusterLine("primary", primary), ...(canary === undefined ? [] : [clusterLine("canary", canary)])];
}

const shortly = ({ primaryCapacity: p, canaryCapacity: c, canaryTraffic: w }: Waypoint) => `(${p}, ${c}, ${w})`;

/** The lines of an event; none for those that a log can do without. */
export function eventLines(event: RolloutEvent): string[] {
  return plainLines(textsOf(event));
}

function textsOf(event: RolloutEvent): string[] {
  switch (event.event) {
    case "started":
      return [
        `${event.command} ${event.service}, version ${event.version}`,
        ...event.notices.map((text) => `note: ${text}`),
      ];
    case "notice":
      return [`note: ${event.message}`];
    case "planned":
      return event.waypoints.length === 0
        ? []
        : [
            `waypoints (primary capacity, canary capacity, canary traffic): ${event.waypoints.map(shortly).join(" ")}, peak ${event.peakCapacity}%`,
          ];
    case "changes":
      return [
        `${event.version} changes in place of the running version:`,
        ...changeLines(event.changes).map((line) => `  ${line}`),
      ];
    case "update":
      return [`update: ${event.message}`];
    case "progress":
      return [`  ${event.resource}: ${event.message}`];
    case "status":
      return [];
    case "reached":
      return [
        `reached ${describeWaypoint(event.waypoint)} after ${event.seconds.toFixed(1)} s`,
        ...clusterLines(event).map((line) => `  ${line}`),
      ];
    case "unhealthy":
      return [`version ${event.version} is not good: ${event.reason}`];
    case "finished":
      return [`${event.outcome} after ${event.seconds.toFixed(1)} s`];
  }
}

export function statusLines(now: ServiceStatus): string[] {
  const { service, primary } = now;
  const problems = plainLines(now.problems.map((problem) => `problem: ${problem}`));
  if (service === undefined || primary === undefined) return [now.state, ...problems];
  return [
    `${service} is ${now.state}${now.url === undefined ? "" : ` at ${now.url}`}`,
    ...clusterLines({ primary, ...(now.canary ? { canary: now.canary } : {}) }),
    ...(now.deadline === undefined ? [] : [`rolled back if not complete by ${now.deadline}`]),
    ...problems,
  ];
}

export function outcomeLines({ outcome, version, url }: CommandResult, { stack }: { stack: string }): string[] {
  const flag = stack === "dev" ? "" : ` -s ${stack}`;
  const next =
    outcome === "held"
      ? [
          `Held. Go on with \`rayshift deploy${flag} --canary-percent N\`, complete with 100, or go back with \`rayshift rollback${flag}\`.`,
        ]
      : [];
  return [`${version}: ${outcome}; the service answers at ${url}`, ...next];
}

/** One step of a target that was tried out. */
export function stepLine({ step, ok, seconds, detail }: VerifiedStep): string {
  return `${ok ? "ok    " : "FAILED"}  ${step} (${seconds.toFixed(1)} s): ${detail}`;
}
