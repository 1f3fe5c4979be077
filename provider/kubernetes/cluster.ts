import { setTimeout as sleep } from "node:timers/promises";
import type { CheckFailure, OperationContext, ResourceType } from "../resource";
import {
  DashboardUnreachable,
  type RayServiceAddress,
  type RayServiceDashboard,
  runsAnything,
} from "../serve/dashboard";
import { type HttpRouteAddress, untilDrained } from "../serve/guards";
import { clusterNodes } from "../serve/nodes";
import { checkSeconds } from "../serve/weights";
import { ApiServerRefused } from "./api";
import { getRoute, sharesOf } from "./httpRoute";
import { isFinal, podsOf, troubleOf, warningsAbout, withRemedy } from "./pods";
import { getRayService } from "./rayService";

export interface ClusterInputs extends RayServiceDashboard {
  /** uid of the RayService: one that was made anew is another cluster. */
  uid: string;
  /** Where requests come from, so that they can end before the cluster does. */
  route: HttpRouteAddress;
  /** The version's name among the route's backends. */
  version: string;
  /** Longest wait for the head, seconds. */
  timeoutSeconds: number;
  drainTimeoutSeconds: number;
}

export type ClusterState = ClusterInputs;

const POLL_MS = 500;
const DIAGNOSE_MS = 3000;

/**
 * `rayserve:kubernetes:Cluster`: the cluster that KubeRay makes of a RayService. Its creation ends when Ray answers on the
 * head; its deletion, which comes before the RayService's, when the requests have had their time.
 */
export const kubernetesCluster: ResourceType<ClusterInputs, ClusterState> = {
  check({ kubernetes, timeoutSeconds, drainTimeoutSeconds }) {
    return [...checkRayService(kubernetes), ...checkSeconds({ timeoutSeconds, drainTimeoutSeconds })];
  },
  diff(state, inputs) {
    const replaced = state.uid !== inputs.uid;
    const { timeoutSeconds: _a, uid: _b, ...before } = state;
    const { timeoutSeconds: _c, uid: _d, ...after } = inputs;
    return {
      changes: replaced || JSON.stringify(ordered(before)) !== JSON.stringify(ordered(after)),
      replaces: replaced ? ["uid"] : [],
    };
  },
  async create(inputs, context) {
    await headAnswers(inputs, context);
    return { id: context.name, state: inputs };
  },
  async read(_id, state, context) {
    const service = await getRayService(state.kubernetes, context.signal);
    return service === undefined ? undefined : { ...state, uid: service.metadata.uid ?? "" };
  },
  async update(_id, _state, inputs) {
    return inputs;
  },
  async delete(_id, state, context) {
    await requestsEnd(state, context);
  },
};

export function checkRayService(address: Partial<RayServiceAddress> | undefined): CheckFailure[] {
  const { namespace, rayService } = address ?? {};
  const failures: CheckFailure[] = [];
  const label = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
  if (rayService !== undefined && !(label.test(rayService) && rayService.length <= 47)) {
    failures.push({
      property: "kubernetes",
      reason: `"${rayService}" cannot be a RayService: at most 47 lower-case letters, digits and hyphens, a letter first`,
    });
  }
  if (namespace !== undefined && !(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(namespace) && namespace.length <= 63)) {
    failures.push({ property: "kubernetes", reason: `"${namespace}" cannot be the name of a namespace` });
  }
  return failures;
}

/** Waits until Ray answers. What Kubernetes says of the pods meanwhile is shown, and ends the wait when it is final. */
async function headAnswers(inputs: ClusterInputs, context: OperationContext): Promise<void> {
  const { kubernetes: address, timeoutSeconds } = inputs;
  const { signal } = context;
  const started = Date.now();
  let looked = started;
  let why = "";
  for (;;) {
    try {
      await clusterNodes({ kubernetes: address }, signal);
      return;
    } catch (error) {
      if (!(error instanceof DashboardUnreachable)) throw error;
      if (error.refused) throw new Error(`${context.name}: ${error.message}. Was it deleted by somebody?`);
      if (Date.now() - looked >= DIAGNOSE_MS) {
        looked = Date.now();
        const troubles = await troublesOf(address, signal);
        if (troubles.some(isFinal)) throw failure(context, address, troubles);
        why = troubles.join("; ") || error.message;
        context.progress(why);
      }
      if (Date.now() - started > timeoutSeconds * 1000) {
        throw failure(context, address, [
          `its head does not answer within ${timeoutSeconds} s: ${why || error.message}`,
        ]);
      }
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Pods' troubles, or, where there is no pod at all, why nobody makes one. */
async function troublesOf(address: RayServiceAddress, signal: AbortSignal): Promise<string[]> {
  const pods = await podsOf(address, signal);
  const troubles = troubleOf(pods);
  if (troubles.length > 0 || pods.length > 0) return troubles;
  return warningsAbout(address, signal);
}

function failure(context: OperationContext, address: RayServiceAddress, troubles: readonly string[]): Error {
  return new Error(
    `${context.name} (RayService ${address.namespace}/${address.rayService}) does not start: ${withRemedy(troubles)} See: ` +
      `kubectl -n ${address.namespace} describe rayservice,raycluster,pod -l rayshift.io/cluster=${address.rayService}`,
  );
}

/** A cluster that still gets requests is not ended; one that got some lately gives them time. */
async function requestsEnd(state: ClusterState, context: OperationContext): Promise<void> {
  const { kubernetes: address, route: routeAddress, version, drainTimeoutSeconds } = state;
  const { signal } = context;
  let since: number;
  try {
    if (!(await runsAnything(state, signal))) return;
    const route = await getRoute(routeAddress, signal);
    if (route === undefined) return;
    const { [version]: share } = sharesOf(routeAddress, route);
    if ((share?.weight ?? 0) > 0) {
      throw new Error(
        `${context.name}: HTTPRoute ${routeAddress.namespace}/${routeAddress.name} still sends it ${share?.weight}% of the ` +
          "traffic, so the cluster was not ended. `rayshift deploy` or `rayshift rollback` shift the traffic first.",
      );
    }
    since = Math.max(0, ...Object.values(sharesOf(routeAddress, route)).map((each) => each.since ?? 0));
  } catch (error) {
    // Without the CRDs there is nothing to drain, and nothing to keep either.
    if (error instanceof ApiServerRefused && error.status === 404) return;
    throw error;
  }
  await untilDrained({ version: address.rayService, drainTimeoutSeconds }, since, context);
}

const ordered = (value: object): unknown =>
  Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => [key, typeof inner === "object" && inner !== null ? ordered(inner) : inner]);
