import type { ClusterStatus } from "../events";
import { list, type ReachedWaypoint, type Summary } from "./summary";

const clusterHeadings = ["version", "capacity", "traffic", "replicas", "workers"];

/** The waypoints as a table, and below it what was measured on the way. */
export function summaryLines(summary: Summary): string[] {
  const {
    requests,
    failed,
    answers,
    milliseconds,
    peakCapacity,
    capacityLimit,
    peakReplicas,
    peakWorkers,
    workersLimit,
  } = summary;
  return [
    ...waypointTable(summary.waypoints),
    "",
    `requests   ${requests} sent, ${failed} failed; answered by ${list(answers)}`,
    `answered   within ${milliseconds.median} ms (median), ${milliseconds.p99} ms (99%), ${milliseconds.longest} ms (all)`,
    `peak       ${peakCapacity}% capacity (at most ${capacityLimit}%), ${peakReplicas} replicas, ${peakWorkers} workers (at most ${workersLimit})`,
    `at the end ${summary.versionAtEnd ?? "no version"} is in charge, after ${summary.seconds.toFixed(0)} s`,
  ];
}

export function waypointTable(waypoints: readonly ReachedWaypoint[]): string[] {
  const rows = waypoints.map(({ seconds, deploying, primary, canary }) => [
    `${seconds.toFixed(1)} s`,
    deploying,
    ...cells(primary),
    ...(canary === undefined ? ["-", "", "", "", ""] : cells(canary)),
  ]);
  const headings = ["time", "deploy", ...clusterHeadings, ...clusterHeadings];
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  const startOf = (column: number) => widths.slice(0, column).reduce((sum, width) => sum + width + 2, 0);
  const canaryAt = startOf(2 + clusterHeadings.length);
  return [`${" ".repeat(startOf(2))}primary`.padEnd(canaryAt).concat("canary"), line(headings), ...rows.map(line)];
}

function cells({ version, capacity, traffic, replicas, workers }: ClusterStatus): string[] {
  return [
    version,
    `${capacity ?? 100}%`,
    traffic === null ? "?" : `${traffic}%`,
    replicas === null ? "?" : `${replicas.running}/${replicas.wanted}`,
    `${workers ?? "?"}`,
  ];
}
