import { setTimeout as sleep } from "node:timers/promises";
import {
  type ApiServerAddress,
  type DashboardAddress,
  DashboardUnreachable,
  getApplications,
  placeOf,
} from "./dashboard";
import { unhealthyReason } from "./health";
import { clusterNodes } from "./nodes";
import { capacityInUse, deploymentsOf } from "./observation";

/** Guard for growth: this cluster and its peer together stay within `maxTotalCapacity` percent. */
export interface SurgeGuard {
  peer: DashboardAddress;
  maxTotalCapacity: number;
  /** After which the peer's autoscaler ends an idle worker, seconds. */
  idleTimeoutSeconds: number;
}

/** Where a load balancer is asked what it does: HAProxy's admin socket, a route of the Gateway API, or a cloud's data plane. */
export type BalancerAddress =
  | { adminSocket: string; httpRoute?: undefined; marker?: undefined; rules?: undefined }
  | { httpRoute: HttpRouteAddress; adminSocket?: undefined; marker?: undefined; rules?: undefined }
  | CloudBalancer;

export interface CloudBalancer {
  marker: MarkerAddress;
  /** Where the weights are changed apart from updates; absent where nothing does that. */
  rules?: ListenerRules;
  adminSocket?: undefined;
  httpRoute?: undefined;
}

/** What a cloud's load balancer answers by itself, with the weights that it goes by: see provider/cloud/marker.ts. */
export interface MarkerAddress {
  /** With the path. */
  url: string;
  /** Of the requests and of the certificate, where it is not the URL's. */
  hostname?: string;
  /** Secret of the stack: the marker is for those who may send requests. */
  queryAuthToken?: string;
  /** Path in Google Cloud's API of what has the address, which stays when that is gone. */
  forwardingRule?: string;
}

/** Rules of an ALB's listener by their ARNs, and the versions' target groups. */
export interface ListenerRules {
  region: string;
  weights: string;
  marker: string;
  targetGroups: Record<string, string>;
}

export interface HttpRouteAddress extends ApiServerAddress {
  /** Name of the HTTPRoute. */
  name: string;
  /** Name of the service: the versions' Kubernetes services begin with it. */
  service: string;
}

/** Guard for shrinking: what the load balancer sends to this version fits the capacity that is left. */
export type TrafficGuard = BalancerAddress & {
  version: string;
  /** Longest wait for requests under way before the last replica goes. */
  drainTimeoutSeconds: number;
};

/** What a load balancer's data plane says of one version: its weight, its health there, its open requests. */
export interface Share {
  weight: number;
  status?: string;
  /** Absent where it does not count them. */
  sessions?: number;
  /** When the weights were last changed, ms since 1970, where it does not count requests. */
  since?: number;
}

/** By version, all of them, also those that only somebody else knows. */
export type ReadWeights = (balancer: BalancerAddress, signal?: AbortSignal) => Promise<Record<string, Share>>;

/** How many worker nodes of a cluster there are, whatever Ray says: it forgets a node before its process has ended. */
export type CountWorkers = (cluster: DashboardAddress, signal?: AbortSignal) => number | Promise<number>;

/** How to wait, and whom to tell. */
export interface Waiting {
  signal: AbortSignal;
  progress(message: string): void;
}

const drainPollMs = 100;
const nodesPollMs = 500;
const sharePollMs = 250;
/** A server that misses health checks for a moment, on a busy host, is back within this. */
const sharePatienceMs = 10_000;

/** How long beyond the peer's idle timeout its idle nodes may take to end, ms. */
export interface NodesPatience {
  well: number;
  /** While Ray replaces replicas, one node after another is idle, without end. */
  unhealthy: number;
}

/** Serve's proxy keeps a node without replicas busy for 30 s first, and the autoscaler and a pod's end take theirs. */
const nodesPatience: NodesPatience = { well: 240_000, unhealthy: 60_000 };

/**
 * Resolves when the peer has made room for `capacity` percent here: in replicas, which is refused otherwise, and in
 * nodes, which is waited for, because a node is only free for others when the autoscaler has ended it.
 */
export async function checkSurge(
  guard: SurgeGuard,
  capacity: number,
  countWorkers: CountWorkers,
  waiting: Waiting,
  patience = nodesPatience,
): Promise<void> {
  const peer = await capacityOfPeer(guard.peer, waiting.signal);
  if (peer + capacity <= guard.maxTotalCapacity) return waitForIdleNodes(guard, countWorkers, waiting, patience);
  throw new Error(
    `${capacity}% here and ${peer}% on the other cluster (${placeOf(guard.peer)}) are ${peer + capacity}%, more than ` +
      `the ${guard.maxTotalCapacity}% that the surge allows. Nothing was changed. Lower the other cluster first; ` +
      "`rayshift deploy` does it step by step.",
  );
}

/**
 * Throws when more traffic flows to this version than `capacity` percent of it can take. Before the last replica goes it
 * waits for the requests under way: those that Serve has accepted and not yet given to a replica would hang for ever.
 */
export async function checkTraffic(
  guard: TrafficGuard,
  capacity: number,
  readWeights: ReadWeights,
  waiting: Waiting,
): Promise<void> {
  for (const end = Date.now() + sharePatienceMs; ; ) {
    const shares = await readWeights(guard, waiting.signal);
    const told = trafficOf(guard.version, shares);
    const percent = Math.max(told, trafficOf(guard.version, withoutDown(shares)));
    if (percent <= capacity) break;
    if (told > capacity || Date.now() >= end) throw tooMuchTraffic(guard, percent, capacity, shares);
    waiting.progress(`waiting until the load balancer can send requests to ${downOf(shares).join(", ")} again`);
    await sleep(sharePollMs, undefined, { signal: waiting.signal });
  }
  if (capacity === 0) await drained(guard, readWeights, waiting);
}

/**
 * Percent of the requests that a version gets, rounded up. Weights are relative: at a weight of 50 a version gets all of
 * them when the other's weight was never applied, or when the other is down.
 */
export function trafficOf(version: string, shares: Record<string, Share>): number {
  const total = Object.values(shares).reduce((sum, { weight }) => sum + weight, 0);
  return total === 0 ? 0 : Math.ceil((100 * (shares[version]?.weight ?? 0)) / total);
}

const withoutDown = (shares: Record<string, Share>) =>
  Object.fromEntries(Object.entries(shares).filter(([, { status }]) => status !== "down"));

function tooMuchTraffic(
  { version }: TrafficGuard,
  percent: number,
  capacity: number,
  shares: Record<string, Share>,
): Error {
  const down = downOf(shares).filter((each) => each !== version);
  const because = down.length === 0 ? "" : ` (${down.join(", ")} does not pass its health check)`;
  return new Error(
    `the load balancer sends ${percent}% of the traffic to version ${version}${because}, more than the ${capacity}% capacity ` +
      "that it would be left with. Nothing was changed. Shift the traffic away first; `rayshift deploy` and `rayshift " +
      "rollback` do it step by step.",
  );
}

const downOf = (shares: Record<string, Share>) =>
  Object.keys(shares).filter((version) => shares[version]?.status === "down");

async function drained(guard: TrafficGuard, readWeights: ReadWeights, { signal, progress }: Waiting): Promise<void> {
  const { version, drainTimeoutSeconds } = guard;
  const end = Date.now() + drainTimeoutSeconds * 1000;
  // A request may be on its way from its weight to its server at the moment of one look.
  for (let shown = -1, quiet = 0; ; ) {
    const { sessions = 0, since } = (await readWeights(guard, signal))[version] ?? {};
    if (since !== undefined) return untilDrained(guard, since, { signal, progress });
    quiet = sessions === 0 ? quiet + 1 : 0;
    if (quiet === 2) return;
    if (Date.now() >= end) {
      progress(`${sessions} requests of version ${version} were not finished after ${drainTimeoutSeconds} s`);
      return;
    }
    if (sessions > 0 && sessions !== shown) progress(`waiting for ${sessions} requests of version ${version}`);
    shown = sessions;
    await sleep(drainPollMs, undefined, { signal });
  }
}

/** Nobody counts the requests: they have had their time when the weights were last changed that long ago. */
export async function untilDrained(
  { version, drainTimeoutSeconds }: Pick<TrafficGuard, "version" | "drainTimeoutSeconds">,
  since: number,
  { signal, progress }: Waiting,
): Promise<void> {
  const left = since + drainTimeoutSeconds * 1000 - Date.now();
  if (left <= 0) return;
  progress(`giving the requests of version ${version} ${Math.ceil(left / 1000)} s to end`);
  await sleep(left, undefined, { signal });
}

async function waitForIdleNodes(
  { peer, idleTimeoutSeconds }: SurgeGuard,
  countWorkers: CountWorkers,
  { signal, progress }: Waiting,
  patience: NodesPatience,
): Promise<void> {
  const began = Date.now();
  for (let unhealthy: string | undefined; ; ) {
    const { idle, trouble } = await idleNodes(peer, countWorkers, signal);
    if (idle === 0) return;
    unhealthy = trouble ?? unhealthy;
    const longer = unhealthy === undefined ? patience.well : patience.unhealthy;
    if (Date.now() - began >= idleTimeoutSeconds * 1000 + longer) throw noRoom(peer, idle, unhealthy);
    progress(`waiting until ${idle} idle worker nodes of the other cluster end`);
    await sleep(nodesPollMs, undefined, { signal });
  }
}

function noRoom(peer: DashboardAddress, idle: number, unhealthy: string | undefined): Error {
  const because =
    unhealthy === undefined
      ? "Is `min_nodes` 0, and does its autoscaler run?"
      : `Ray may be replacing its replicas: ${unhealthy}`;
  return new Error(
    `${idle} worker nodes of the other cluster (${placeOf(peer)}) run nothing and do not end, so there is no room ` +
      `to grow within the surge. Nothing was changed. ${because}`,
  );
}

/**
 * Worker nodes without a replica, by Ray's count or by that of what really is there, and why the cluster is unhealthy
 * where it is.
 */
async function idleNodes(
  peer: DashboardAddress,
  countWorkers: CountWorkers,
  signal: AbortSignal,
): Promise<{ idle: number; trouble?: string | undefined }> {
  try {
    const [nodes, observation] = await Promise.all([clusterNodes(peer, signal), getApplications(peer, signal)]);
    const busy = new Set(deploymentsOf(observation).flatMap(({ observed }) => observed.nodeIds));
    const workers = nodes.filter(({ alive, head }) => alive && !head);
    const idle = workers.filter(({ id }) => !busy.has(id)).length;
    const outliving = (await countWorkers(peer, signal)) - (workers.length - idle);
    return { idle: Math.max(idle, outliving), trouble: unhealthyReason(observation) };
  } catch (error) {
    // The workers of a dead head end a moment after it.
    if (error instanceof DashboardUnreachable && error.refused) return { idle: await countWorkers(peer, signal) };
    throw error;
  }
}

/** A peer at whose address nothing listens has ended and takes up nothing; one that is only silent may still run. */
async function capacityOfPeer(peer: DashboardAddress, signal: AbortSignal): Promise<number> {
  try {
    return capacityInUse(await getApplications(peer, signal));
  } catch (error) {
    if (error instanceof DashboardUnreachable && error.refused) return 0;
    throw new Error(
      `the capacity of the other cluster is not known, so this one was not raised: ${(error as Error).message}`,
    );
  }
}
