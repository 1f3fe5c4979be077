import { waypointOf } from "../components/placement";
import type { PlacedVersion, RolloutRecord } from "../components/record";
import type { Addresses } from "../components/service";
import type { ClusterAddress } from "../components/target";
import { DashboardUnreachable, getApplications, HeadMissing, NoWayToDashboard } from "../provider/serve/dashboard";
import { unhealthyReason } from "../provider/serve/health";
import { clusterNodes } from "../provider/serve/nodes";
import { capacityInUse, deploymentsOf, isEmpty, type Observation, servesNothing } from "../provider/serve/observation";
import { balancerAt, type Weights } from "./balancers";
import { UpdateFailed } from "./errors";
import type { ClusterStatus } from "./events";
import type { Waypoint } from "./plan";

/** What the service looks like now, asked of Ray and of the load balancer themselves. */
export interface Inspection {
  /** Where the service really stands; what could not be asked is taken from the record. */
  at: Waypoint;
  primary: ClusterStatus;
  canary?: ClusterStatus;
  /** Parts of the recorded service that do not answer. */
  gone: string[];
  /** Whether a head is there and silent. The engine could not look at what it runs, and an update that does so fails. */
  silent: boolean;
  /** Whether somebody left the load balancer with weights that are no percents, so that no update would see them. */
  drifted: boolean;
  /** What the load balancer has beside the recorded versions. */
  strange: string[];
  /** Why the canary answers nobody where its capacity says that it does, but for what Ray calls unhealthy. */
  down?: string | undefined;
  /** Whether the canary's requests are answered while its head is gone. */
  outlivesHead: boolean;
  /** Why a version is unhealthy, in Ray's words. */
  unhealthy: { primary?: string | undefined; canary?: string | undefined };
}

/**
 * Asks everything at once. Never throws for a part that does not answer; that is a finding.
 *
 * @throws UpdateFailed when the API server of a Kubernetes cluster does not answer, and so nothing can be asked
 */
export async function inspect(
  record: RolloutRecord,
  targets: Addresses | undefined,
  signal?: AbortSignal,
): Promise<Inspection> {
  const address = (version: PlacedVersion | undefined) => version && targets?.clusters[version.cluster];
  const [weights, primary, canary] = await Promise.all([
    balancerAt(targets?.loadBalancer)
      ?.readWeights(signal)
      .catch(() => undefined),
    askCluster(address(record.primary), signal),
    record.canary && askCluster(address(record.canary), signal),
  ]);
  const gone = [
    weights === undefined ? ["the load balancer"] : [],
    goneOf(record.primary, primary),
    record.canary && canary ? goneOf(record.canary, canary) : [],
  ].flat();
  return {
    at: actualWaypoint(record, weights, primary.observation, canary?.observation),
    primary: statusOf(record.primary, weights, primary),
    ...(record.canary && canary ? { canary: statusOf(record.canary, weights, canary) } : {}),
    gone,
    silent: primary.silent === true || canary?.silent === true,
    drifted: weights !== undefined && total(weights) !== 100,
    strange: Object.keys(weights ?? {}).filter(
      (name) => ![record.primary.cluster, record.canary?.cluster].includes(name),
    ),
    down: record.canary && canary && downOf(record.canary, canary),
    outlivesHead: address(record.canary)?.outlivesHead === true,
    unhealthy: { primary: unhealthiness(primary), canary: canary && unhealthiness(canary) },
  };
}

/** Whether the primary answers and Ray calls it well, so that traffic may go back to it. */
export function primaryServes({ gone, primary, unhealthy }: Inspection): boolean {
  return unhealthy.primary === undefined && !gone.some((part) => part.endsWith(` cluster of ${primary.version}`));
}

/** Whether the canary answers, runs something, and Ray calls it well. */
export function canaryServes({ gone, canary, unhealthy }: Inspection): boolean {
  const well = unhealthy.canary === undefined && (canary?.replicas?.running ?? 0) > 0;
  return well && !gone.some((part) => part.endsWith(` cluster of ${canary?.version}`));
}

/** A cluster that was made anew answers long before anybody has given it applications. */
function goneOf({ name, capacity }: PlacedVersion, { observation }: ClusterAnswer): string[] {
  if (observation === undefined) return [`the cluster of ${name}`];
  return isEmpty(observation) && capacity !== 0 ? [`Serve on the cluster of ${name}`] : [];
}

function downOf({ capacity }: PlacedVersion, { observation, problem }: ClusterAnswer): string | undefined {
  if (observation === undefined) return problem;
  if (capacity === 0 || !servesNothing(observation) || unhealthyReason(observation) !== undefined) return undefined;
  return `nothing runs on its cluster: ${waitReason(observation) ?? "Ray has no applications"}`;
}

interface ClusterAnswer {
  observation: Observation | undefined;
  workers: number | null;
  /** Why it does not answer. */
  problem?: string;
  /** Whether something is there that does not answer. */
  silent?: boolean;
}

async function askCluster(address: ClusterAddress | undefined, signal?: AbortSignal): Promise<ClusterAnswer> {
  if (address === undefined) return { observation: undefined, workers: null, problem: "its address is not recorded" };
  const [observation, nodes] = await Promise.allSettled([
    getApplications(address, signal),
    clusterNodes(address, signal),
  ]);
  const workers = nodes.status === "fulfilled" ? nodes.value.filter(({ alive, head }) => alive && !head).length : null;
  if (observation.status === "fulfilled") return { observation: observation.value, workers };
  const { reason } = observation;
  // Taken for a finding, a silent API server would be a dead cluster, and a good version would be taken back for it.
  if (reason instanceof NoWayToDashboard) throw new UpdateFailed(`${reason.message}\nNothing is known of the service.`);
  return {
    observation: undefined,
    workers,
    problem: problemOf(reason),
    silent: reason instanceof DashboardUnreachable && !reason.refused && !(reason instanceof HeadMissing),
  };
}

function problemOf(reason: unknown): string {
  if (reason instanceof HeadMissing) return `its head does not answer: ${reason.why}`;
  if (reason instanceof DashboardUnreachable) return "its head does not answer";
  return reason instanceof Error ? reason.message : String(reason);
}

/**
 * The waypoint by what runs: a record is behind after an update that failed or was killed half way. Traffic of a server
 * that the record does not know is the canary's of such an update. Weights are relative: alone at 50 a server gets all.
 */
function actualWaypoint(
  record: RolloutRecord,
  weights: Weights | undefined,
  primary: Observation | undefined,
  canary: Observation | undefined,
): Waypoint {
  const recorded = waypointOf(record);
  const others = weights && total(weights) - (weights[record.primary.cluster]?.weight ?? 0);
  const canaryTraffic =
    weights === undefined || others === undefined || total(weights) === 0
      ? recorded.canaryTraffic
      : Math.round((100 * others) / total(weights));
  // What has requests and is not recorded cannot be asked: it is not to be given less than they need.
  const unasked = record.canary === undefined ? canaryTraffic : recorded.canaryCapacity;
  return {
    primaryCapacity: primary === undefined ? recorded.primaryCapacity : Math.round(capacityInUse(primary)),
    canaryCapacity: canary === undefined ? unasked : Math.round(capacityInUse(canary)),
    canaryTraffic,
  };
}

function statusOf(version: PlacedVersion, weights: Weights | undefined, answer: ClusterAnswer): ClusterStatus {
  const { observation, workers, problem } = answer;
  const deployments = observation === undefined ? [] : deploymentsOf(observation);
  const waitsFor = problem ?? waitReason(observation);
  return {
    version: version.name,
    capacity: observation === undefined ? version.capacity : observation.targetCapacity,
    traffic: weights === undefined ? null : (weights[version.cluster]?.weight ?? 0),
    replicas:
      observation === undefined
        ? null
        : {
            running: sum(deployments.map(({ observed }) => observed.running)),
            wanted: sum(deployments.map(({ observed }) => observed.targetReplicas)),
          },
    workers,
    ...(waitsFor === undefined ? {} : { waitsFor }),
  };
}

/** What Ray is still busy with, in one line. */
function waitReason(observation: Observation | undefined): string | undefined {
  if (observation === undefined) return undefined;
  for (const { application, deployment, observed } of deploymentsOf(observation)) {
    if (observed.running !== observed.targetReplicas) {
      return `${observed.running} of ${observed.targetReplicas} replicas of ${application}/${deployment} run`;
    }
  }
  const busy = Object.entries(observation.applications).find(([, { status }]) => status !== "RUNNING");
  return busy && `application ${busy[0]} is ${busy[1].status}`;
}

function unhealthiness({ observation }: ClusterAnswer): string | undefined {
  return observation && unhealthyReason(observation);
}

const total = (weights: Weights) => sum(Object.values(weights).map(({ weight }) => weight));
const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);
