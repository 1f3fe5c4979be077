import type { ServiceSpec } from "../components/serviceSpec";
import { getApplications } from "../provider/serve/dashboard";
import { deploymentsOf } from "../provider/serve/observation";
import { inspect } from "./inspect";
import { type Goal, type PlannedUpdate, planSummary, traversed, type Waypoint } from "./plan";
import { worstCaseReplicas } from "./replicas";
import { type Deployed, isDeployed, openSession, type SessionOptions } from "./session";
import { readWanted, type WantedOptions } from "./wanted";

export interface PlanOptions extends SessionOptions, WantedOptions {}

export interface PlannedWaypoint extends PlannedUpdate {
  /** Most replicas of both clusters together at any instant of the update, every count rounded up. */
  peakReplicas: number;
}

/** What a deploy would do; nothing is changed. */
export interface RolloutPlan {
  kind: "firstDeploy" | "unchanged" | "inPlace" | "rollout" | "rollbackFirst";
  version: string;
  from: Waypoint;
  waypoints: PlannedWaypoint[];
  /** Percent of one cluster's steady state. */
  peakCapacity: number;
  peakReplicas: number;
  /** Absent where a replica's GPUs are set in code, so that the spec does not show them. */
  peakGpus?: number;
  /** Whether an update follows that ends the old version's cluster. */
  completes: boolean;
  notices: string[];
}

/** The waypoints that a deploy of the same options would walk, from what runs now. */
export async function plan(options: PlanOptions): Promise<RolloutPlan> {
  const session = await openSession(options);
  const { version, config } = await readWanted(session, options);
  const outputs = await session.stack.outputs(session.signal);
  const standing = isDeployed(outputs) ? outputs : undefined;
  const from = standing ? (await inspect(standing.rollout, standing.targets, session.signal)).at : nothing;
  const kind = kindOf(standing, version.digest, config.inPlace === true);
  const running = standing === undefined ? {} : await fullReplicas(standing);
  const full = { primary: Object.values(running), canary: Object.values(declaredReplicas(config.service, running)) };
  const common = { kind, version: version.name, from, notices: config.notices };
  if (kind !== "rollout") {
    const peakReplicas = total(kind === "firstDeploy" ? full.canary : full.primary);
    const peakCapacity = kind === "rollbackFirst" ? from.primaryCapacity + from.canaryCapacity : 100;
    return { ...common, waypoints: [], peakCapacity, peakReplicas, completes: false };
  }
  const surge = config.maxSurgePercent ?? standing?.rollout.surge;
  const goal: Goal = { kind: "split", traffic: config.canaryPercent ?? 100, surge };
  const { updates, peakCapacity, completes } = planSummary(from, goal);
  const waypoints = updates.map((update, index) => {
    const before = updates[index - 1]?.waypoint ?? from;
    return { ...update, peakReplicas: worstCaseReplicas(full, traversed(before, update.waypoint)) };
  });
  const peakReplicas = Math.max(total(full.primary), ...waypoints.map((waypoint) => waypoint.peakReplicas));
  const gpus = gpusPerReplica(config.service);
  return {
    ...common,
    waypoints,
    peakCapacity,
    peakReplicas,
    ...(gpus === undefined ? {} : { peakGpus: gpus * peakReplicas }),
    completes,
  };
}

const nothing: Waypoint = { primaryCapacity: 0, canaryCapacity: 0, canaryTraffic: 0 };
const total = (counts: number[]) => counts.reduce((sum, count) => sum + count, 0);

function kindOf(standing: Deployed | undefined, digest: string, inPlace: boolean): RolloutPlan["kind"] {
  if (standing === undefined) return "firstDeploy";
  const { primary, canary } = standing.rollout;
  if (inPlace) return "inPlace";
  if (canary !== undefined && digest !== canary.digest) return "rollbackFirst";
  return digest === primary.digest ? "unchanged" : "rollout";
}

/** Replicas at 100% of every deployment that runs, by application and deployment. */
async function fullReplicas({ rollout, targets }: Deployed): Promise<Record<string, number>> {
  const address = targets.clusters[rollout.primary.cluster];
  if (address === undefined) return {};
  const observation = await getApplications(address);
  return Object.fromEntries(
    deploymentsOf(observation).map(({ application, deployment, observed }) => [
      `${application}/${deployment}`,
      observed.full,
    ]),
  );
}

/** Counts of the spec, and for deployments whose counts are set in code those of the version that runs. */
function declaredReplicas(spec: ServiceSpec, running: Record<string, number>): Record<string, number> {
  const counts = { ...running };
  for (const application of spec.applications) {
    for (const deployment of application.deployments) {
      const { num_replicas: fixed, autoscaling_config: scaling } = deployment;
      const count = typeof fixed === "number" ? fixed : (scaling?.initial_replicas ?? scaling?.min_replicas);
      if (typeof count === "number") counts[`${application.name}/${deployment.name}`] = count;
    }
  }
  return counts;
}

/** The same number for every deployment, or undefined where that cannot be known from the spec. */
function gpusPerReplica(spec: ServiceSpec): number | undefined {
  const deployments = spec.applications.flatMap((application) => application.deployments);
  const counts = deployments.map(({ ray_actor_options: options }) => options?.num_gpus);
  const [first] = counts;
  return typeof first === "number" && counts.every((count) => count === first) ? first : undefined;
}
