import { setTimeout as sleep } from "node:timers/promises";
import type { ResourceType } from "../resource";
import type { RayServiceAddress } from "../serve/dashboard";
import type { HttpRouteAddress } from "../serve/guards";
import { assertReadyFor } from "../serve/readiness";
import { type BackendsInputs, readinessType } from "../serve/readinessType";
import { type KubernetesObject, listObjects } from "./api";
import { getRoute, serveServiceOf, sharesOf } from "./httpRoute";

/** A version's cluster behind the route; `weight` in percent of the requests. */
export interface Backend {
  version: string;
  kubernetes: RayServiceAddress;
  weight: number;
}

export interface ReadinessInputs extends BackendsInputs<Backend> {
  route: HttpRouteAddress;
}

interface EndpointSlice extends KubernetesObject {
  endpoints?: Array<{ conditions?: { ready?: boolean } }> | null;
}

const ENDPOINTS_WITHIN_MS = 60_000;
const POLL_MS = 500;

/**
 * `rayserve:kubernetes:Readiness`: stands before the route. Every version that is to get more traffic than the route gives
 * it now has the replicas for it, and an address at which they answer.
 */
export const readiness: ResourceType<ReadinessInputs, ReadinessInputs> = readinessType<Backend, ReadinessInputs>(
  async ({ route: address }, signal) => {
    const route = await getRoute(address, signal);
    return route === undefined ? {} : sharesOf(address, route);
  },
  async ({ route }, { version, kubernetes, weight }, { signal }) => {
    await assertReadyFor({ kubernetes }, weight, signal);
    await answersSomewhere(route, version, signal);
  },
);

/** A service without a ready endpoint answers every request with an error. */
async function answersSomewhere(address: HttpRouteAddress, version: string, signal: AbortSignal): Promise<void> {
  const service = serveServiceOf(address.service, version);
  const selector = encodeURIComponent(`kubernetes.io/service-name=${service}`);
  const path = `/apis/discovery.k8s.io/v1/namespaces/${address.namespace}/endpointslices?labelSelector=${selector}`;
  for (const end = Date.now() + ENDPOINTS_WITHIN_MS; ; await sleep(POLL_MS, undefined, { signal })) {
    const slices = await listObjects<EndpointSlice>(address, path, signal);
    if (slices.some(({ endpoints }) => endpoints?.some(({ conditions }) => conditions?.ready !== false))) return;
    if (Date.now() >= end) {
      throw new Error(
        `service ${address.namespace}/${service} has no ready endpoint after ${ENDPOINTS_WITHIN_MS / 1000} s (KubeRay makes ` +
          `it when every application runs; kubectl -n ${address.namespace} get endpointslices,pods shows what is not ready)`,
      );
    }
  }
}
