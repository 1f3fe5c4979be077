import type { ClusterStatus } from "../events";
import { type Counts, quantile } from "./counts";
import type { Peaks } from "./peaks";

/** A waypoint that the service reached. */
export interface ReachedWaypoint {
  /** Since the start of the demo. */
  seconds: number;
  /** The version that was being deployed. */
  deploying: string;
  primary: ClusterStatus;
  canary?: ClusterStatus;
}

/** What the demo has seen. */
export interface Summary {
  waypoints: ReachedWaypoint[];
  /** Requests through the load balancer, from the first version's start to the end. */
  requests: number;
  failed: number;
  /** Failed requests by their cause. */
  causes: Record<string, number>;
  /** Good answers by the version that gave them. */
  answers: Record<string, number>;
  /** How long good answers took. */
  milliseconds: { median: number; p99: number; longest: number };
  /** Which version answered a request with the header X-ANYSCALE-VERSION, by the header's value. */
  byHeader: Record<string, string | undefined>;
  /** Percent, both clusters together. */
  peakCapacity: number;
  peakReplicas: number;
  /** Both clusters together. */
  peakWorkers: number;
  /** What the surge allows. */
  capacityLimit: number;
  workersLimit: number;
  /** Why the version that cannot start was rolled back; absent when it was not. */
  rolledBack?: string;
  versionAtEnd: string | undefined;
  seconds: number;
}

/** The part of a {@link Summary} that the load and the sampler give. */
export function measured(counts: Counts, peaks: Peaks, limits: { capacity: number; workers: number }) {
  return {
    requests: counts.sent,
    failed: counts.failed,
    causes: counts.causes,
    answers: counts.byVersion,
    milliseconds: { median: quantile(counts, 0.5), p99: quantile(counts, 0.99), longest: quantile(counts, 1) },
    peakCapacity: peaks.capacity,
    peakReplicas: peaks.replicas,
    peakWorkers: peaks.workers,
    capacityLimit: limits.capacity,
    workersLimit: limits.workers,
  };
}

/** Versions as the demo deploys them: one that is replaced, one that stays, one that cannot start. */
export interface Expected {
  first: string;
  good: string;
  broken: string;
}

/** What is not as promised; empty when all is. */
export function brokenPromises(summary: Summary, { first, good, broken }: Expected): string[] {
  const { requests, failed, causes, peakCapacity, capacityLimit, peakWorkers, workersLimit, byHeader } = summary;
  const promises: [kept: boolean, broken: string][] = [
    [requests > 0 && failed === 0, `${failed} of ${requests} requests failed: ${list(causes)}`],
    [peakCapacity <= capacityLimit, `the capacities together reached ${peakCapacity}%, more than ${capacityLimit}%`],
    [peakWorkers <= workersLimit, `${peakWorkers} workers ran at the same time, more than ${workersLimit}`],
    [
      byHeader.primary === first,
      `the header for the primary reached ${byHeader.primary ?? "no version"}, not ${first}`,
    ],
    [byHeader.canary === good, `the header for the canary reached ${byHeader.canary ?? "no version"}, not ${good}`],
    [summary.rolledBack !== undefined, `${broken} cannot start but was not rolled back`],
    [summary.versionAtEnd === good, `version ${summary.versionAtEnd ?? "none"} is in charge at the end, not ${good}`],
  ];
  return promises.filter(([kept]) => !kept).map(([, what]) => what);
}

export function list(counts: Record<string, number>): string {
  const entries = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  return entries.length === 0 ? "none" : entries.join(", ");
}
