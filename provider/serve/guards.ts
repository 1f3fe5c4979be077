import { type DashboardAddress, DashboardUnreachable, getApplications } from "./dashboard";
import { capacityInUse } from "./observation";

/** Guard for growth: this cluster and its peer together stay within `maxTotalCapacity` percent. */
export interface SurgeGuard {
  peer: DashboardAddress;
  maxTotalCapacity: number;
}

/** Guard for shrinking: what the load balancer sends to this version fits the capacity that is left. */
export interface TrafficGuard {
  adminSocket: string;
  version: string;
}

/** The load balancer's weights in percent, by version, read from its data plane. */
export type ReadWeights = (adminSocket: string) => Promise<Record<string, { weight: number }>>;

/** Throws when the peer has not made room for `capacity` percent here. */
export async function checkSurge(guard: SurgeGuard, capacity: number, signal: AbortSignal): Promise<void> {
  const peer = await capacityOfPeer(guard.peer, signal);
  if (peer + capacity <= guard.maxTotalCapacity) return;
  throw new Error(
    `${capacity}% here and ${peer}% on the other cluster (${guard.peer.dashboardUrl}) are ${peer + capacity}%, more than ` +
      `the ${guard.maxTotalCapacity}% that the surge allows. Nothing was changed. Lower the other cluster first; ` +
      "`rayshift deploy` does it step by step.",
  );
}

/** Throws when more traffic flows to this version than `capacity` percent of it can take. */
export async function checkTraffic(guard: TrafficGuard, capacity: number, readWeights: ReadWeights): Promise<void> {
  const weight = (await readWeights(guard.adminSocket))[guard.version]?.weight ?? 0;
  if (weight <= capacity) return;
  throw new Error(
    `the load balancer sends ${weight}% of the traffic to version ${guard.version}, more than the ${capacity}% capacity ` +
      "that it would be left with. Nothing was changed. Shift the traffic away first; `rayshift deploy` and `rayshift " +
      "rollback` do it step by step.",
  );
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
