import type { Addresses } from "../components/service";
import { readMarkerWeights } from "../provider/cloud/marker";
import { readWeights, tell } from "../provider/local/haproxyAdmin";
import { TRAFFIC } from "../provider/local/haproxyConfig";
import type { CloudBalancer } from "../provider/serve/guards";

/** Requests by version, in the load balancer's own weights. */
export interface Weights {
  [version: string]: { weight: number };
}

/** What the driver asks of a load balancer, and does to it, apart from updates. The recorded address says of which kind. */
export interface Balancer {
  /** Throws when the load balancer does not answer. */
  readWeights(signal?: AbortSignal): Promise<Weights>;
  /** All requests to one of the two versions, now; absent where only updates can. Throws when that cannot be done. */
  moveTraffic?(to: string, from: string, signal?: AbortSignal): Promise<void>;
}

/** Undefined while no address is recorded. */
export function balancerAt(address: Addresses["loadBalancer"] | undefined): Balancer | undefined {
  if (address?.adminSocket !== undefined) return localBalancer(address.adminSocket);
  if (address?.marker !== undefined) return cloudBalancer(address);
  if (address?.httpRoute === undefined) return undefined;
  const route = address.httpRoute;
  return {
    readWeights: async (signal) => (await httpRoutes()).readRouteWeights(route, signal),
    moveTraffic: async (to, _from, signal) => (await httpRoutes()).moveAllTraffic(route, to, signal),
  };
}

function cloudBalancer({ marker, rules }: CloudBalancer): Balancer {
  return {
    readWeights: (signal) => readMarkerWeights(marker, signal),
    ...(rules === undefined
      ? {}
      : {
          moveTraffic: async (to, from, signal) => (await listenerRules()).moveAllTraffic(rules, to, from, signal),
        }),
  };
}

function localBalancer(socket: string): Balancer {
  const weight = (version: string, percent: number) => `set server ${TRAFFIC}/${version} weight ${percent}`;
  return {
    readWeights: () => readWeights(socket),
    async moveTraffic(to, from) {
      // Raised first: weights are relative, and at no instant may nobody get the requests.
      await tell(socket, [weight(to, 100), weight(from, 0)]);
    },
  };
}

const httpRoutes = () => import("../provider/kubernetes/httpRoute.js");
const listenerRules = () => import("../provider/aws/listenerRules.js");
