import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { OperationContext, ResourceType } from "../resource";
import type { RayServiceAddress } from "../serve/dashboard";
import type { HttpRouteAddress } from "../serve/guards";
import { assertReadyFor, proveReady } from "../serve/readiness";
import { checkWeights } from "../serve/weights";
import { type KubernetesObject, listObjects } from "./api";
import { getRoute, serveServiceOf, sharesOf } from "./httpRoute";

/** A version's cluster behind the route; `weight` in percent of the requests. */
export interface Backend {
  version: string;
  kubernetes: RayServiceAddress;
  weight: number;
}

export interface ReadinessInputs {
  route: HttpRouteAddress;
  backends: Backend[];
  /** Nobody asks: the traffic cannot be worse off than it is. */
  immediate?: boolean;
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
export const readiness: ResourceType<ReadinessInputs, ReadinessInputs> = {
  check: ({ backends }) => checkWeights(backends),
  diff(state, inputs) {
    const comparable = ({ backends, route }: ReadinessInputs) => JSON.parse(JSON.stringify({ backends, route }));
    return { changes: !isDeepStrictEqual(comparable(state), comparable(inputs)) };
  },
  async create(inputs, context) {
    await proveRising(inputs, context);
    return { id: context.name, state: withoutImmediate(inputs) };
  },
  read: async (_id, state) => state,
  async update(_id, _state, inputs, context) {
    await proveRising(inputs, context);
    return withoutImmediate(inputs);
  },
  delete: async () => {},
};

async function proveRising(
  { route: address, backends, immediate }: ReadinessInputs,
  context: OperationContext,
): Promise<void> {
  if (immediate === true) return;
  const route = await getRoute(address, context.signal);
  const had = route === undefined ? {} : sharesOf(address, route);
  for (const { version, kubernetes, weight } of backends) {
    if (weight === 0 || weight <= (had[version]?.weight ?? 0)) continue;
    await proveReady(version, weight, context, async () => {
      await assertReadyFor({ kubernetes }, weight, context.signal);
      await answersSomewhere(address, version, context.signal);
    });
  }
}

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

function withoutImmediate({ immediate: _, ...lasting }: ReadinessInputs): ReadinessInputs {
  return lasting;
}
