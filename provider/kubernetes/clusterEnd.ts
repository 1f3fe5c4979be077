import type { ResourceType } from "../resource";
import type { RayServiceAddress } from "../serve/dashboard";
import { untilRight } from "../serve/untilRight";
import { checkSeconds } from "../serve/weights";
import { checkRayService } from "./cluster";
import { podsOf, troubleOf } from "./pods";
import { listRayClusters } from "./rayService";

export interface ClusterEndInputs {
  kubernetes: RayServiceAddress;
  /** Longest wait, seconds. */
  timeoutSeconds: number;
}

const POLL_MS = 500;

/**
 * `rayserve:kubernetes:ClusterEnd`: made before a RayService, so that it is deleted after it. Its deletion ends when KubeRay
 * has ended the cluster and the pods are gone, and with them what they held of quotas and nodes. An API server that waits
 * for that itself (foreground deletion) takes away what KubeRay needs to take the cluster's state out of Redis.
 */
export const clusterEnd: ResourceType<ClusterEndInputs, ClusterEndInputs> = {
  check({ kubernetes, timeoutSeconds }) {
    return [...checkRayService(kubernetes), ...checkSeconds({ timeoutSeconds })];
  },
  diff(state, inputs) {
    return { changes: JSON.stringify(state) !== JSON.stringify(inputs), replaces: [] };
  },
  async create(inputs, context) {
    return { id: context.name, state: inputs };
  },
  async read(_id, state) {
    return state;
  },
  async update(_id, _state, inputs) {
    return inputs;
  },
  async delete(_id, { kubernetes: address, timeoutSeconds }, context) {
    const { namespace, rayService } = address;
    await untilRight(
      { timeoutSeconds, pollMs: POLL_MS },
      context,
      () => whatIsLeft(address, context.signal),
      (left) =>
        `RayService ${namespace}/${rayService} is deleted, and after ${timeoutSeconds} s there still is ${left}. KubeRay ends them; ` +
        "where heads keep their state in Redis it needs that Redis, and makes a job for it. See: " +
        `kubectl -n ${namespace} describe raycluster,job,pod -l ray.io/originated-from-cr-name=${rayService}`,
    );
  },
};

async function whatIsLeft(address: RayServiceAddress, signal: AbortSignal): Promise<string | undefined> {
  const [clusters, pods] = await Promise.all([listRayClusters(address, signal), podsOf(address, signal)]);
  const names = clusters.map(({ metadata }) => `RayCluster ${metadata.name}`);
  const left = [...names, ...(pods.length === 0 ? [] : [`${pods.length} of its pods`])];
  if (left.length === 0) return undefined;
  const troubles = troubleOf(pods);
  return left.join(" with ") + (troubles.length === 0 ? "" : ` (${troubles.join("; ")})`);
}
