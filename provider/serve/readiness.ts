import { setTimeout as sleep } from "node:timers/promises";
import { rayReplicas, roundedUpReplicas } from "../../rollout/replicas";
import type { OperationContext } from "../resource";
import { type DashboardAddress, DashboardUnreachable, getApplications, placeOf } from "./dashboard";
import { type DeploymentObservation, deploymentsOf, isEmpty, type Observation } from "./observation";

const ATTEMPTS = 5;
const RETRY_MS = 500;

/**
 * Throws unless the cluster can take `trafficPercent` of the service's requests now: every application RUNNING and in
 * every deployment as many replicas running as that share needs. Network errors that pass within 2 s are waited out.
 *
 * @returns how many requests the version works on at a time at full capacity, at most; undefined when it was not asked
 */
export async function assertReadyFor(
  address: DashboardAddress,
  trafficPercent: number,
  signal?: AbortSignal,
): Promise<number | undefined> {
  if (trafficPercent === 0) return undefined;
  const observation = await observe(address, signal);
  const problems = problemsFor(observation, trafficPercent);
  if (problems.length === 0) return slotsOf(observation);
  throw new Error(
    `the cluster at ${placeOf(address)} cannot take ${trafficPercent}% of the traffic: ${problems.join("; ")}. ` +
      "No weight was changed. Raise its capacity, or wait until its replicas run.",
  );
}

/**
 * Asks by `proof` whether a version can take this much traffic, before any of it moves.
 *
 * @throws the proof's reason, saying that nothing moved
 */
export async function proveReady<T>(
  version: string,
  trafficPercent: number,
  { progress, signal }: Pick<OperationContext, "progress" | "signal">,
  proof: () => Promise<T>,
): Promise<T> {
  progress(`version ${version}: is it ready for ${trafficPercent} % of the traffic?`);
  try {
    return await proof();
  } catch (error) {
    signal.throwIfAborted();
    const reason = (error as Error).message.replace(/\.$/, "");
    throw new Error(
      `version ${version} is not ready for ${trafficPercent} % of the traffic: ${reason}. ` +
        "The traffic was left as it was. See its cluster with: rayshift status",
    );
  }
}

/** Requests that all replicas of all deployments work on at a time at 100 %: an upper bound for those from outside. */
export function slotsOf(observation: Observation): number {
  return deploymentsOf(observation).reduce((sum, { observed }) => {
    return sum + (observed.autoscaling?.max ?? observed.full) * observed.maxOngoingRequests;
  }, 0);
}

/** What stands against sending `trafficPercent` of the requests to a cluster; empty when nothing does. */
export function problemsFor(observation: Observation, trafficPercent: number): string[] {
  if (isEmpty(observation)) return ["no application runs on it"];
  const capacity = observation.targetCapacity ?? 100;
  const problems = capacity < trafficPercent ? [`its capacity is ${capacity}%`] : [];
  for (const [name, { status }] of Object.entries(observation.applications)) {
    if (status !== "RUNNING") problems.push(`application ${name} is ${status}`);
  }
  for (const { application, deployment, observed } of deploymentsOf(observation)) {
    const needed = replicasNeeded(observed, capacity, trafficPercent);
    if (observed.running >= needed) continue;
    problems.push(`deployment ${application}/${deployment} runs ${observed.running} replicas and needs ${needed}`);
  }
  return problems;
}

/**
 * Replicas that a share of the traffic needs. Where Ray's rounding would run too few, its count was raised: all replicas
 * of the present capacity are then enough for any traffic up to it, though the raised count would ask for one more.
 */
export function replicasNeeded(observed: DeploymentObservation, capacity: number, trafficPercent: number): number {
  const ofTraffic = roundedUpReplicas(observed.full, trafficPercent);
  return trafficPercent > capacity ? ofTraffic : Math.min(ofTraffic, rayReplicas(observed.full, capacity));
}

async function observe(address: DashboardAddress, signal?: AbortSignal): Promise<Observation> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await getApplications(address, signal);
    } catch (error) {
      if (!(error instanceof DashboardUnreachable) || attempt === ATTEMPTS) throw error;
      await sleep(RETRY_MS, undefined, signal === undefined ? {} : { signal });
    }
  }
}
