import type { NodeResources } from "../instanceTypes";

/** Ray's name of the head's node type, which both the config and the head itself give. */
export const HEAD_NODE_TYPE = "head";

const GIB = 2 ** 30;
/** Of a machine's memory: the rest is the system's and Ray's own. */
const MEMORY_SHARE = 0.7;

/** Worker machines of one kind, from none up. */
export interface WorkerTemplate {
  /** Of the group; Ray's name of the node type. */
  name: string;
  resources: NodeResources;
  maxNodes: number;
  /** What the cloud's own node provider makes a machine from. */
  nodeConfig: Record<string, unknown>;
}

export interface AutoscalingInputs {
  /** Unique among the clusters of the account. */
  clusterName: string;
  /** The cloud's own part: type, region or zone. */
  provider: Record<string, unknown>;
  sshUser: string;
  groups: readonly WorkerTemplate[];
  idleTimeoutSeconds: number;
}

/**
 * Ray's cluster config as its autoscaler v2 reads it on a head that nobody ran `ray up` for: every node type has its
 * resources written out, and no machine is entered by SSH.
 */
export function autoscalingConfig({ clusterName, provider, sshUser, groups, idleTimeoutSeconds }: AutoscalingInputs) {
  return {
    cluster_name: clusterName,
    max_workers: groups.reduce((sum, { maxNodes }) => sum + maxNodes, 0),
    idle_timeout_minutes: idleTimeoutSeconds / 60,
    upscaling_speed: 100,
    provider: {
      ...provider,
      use_internal_ips: true,
      // A stopped machine keeps its disk, and its price.
      cache_stopped_nodes: false,
      disable_node_updaters: true,
      disable_launch_config_check: true,
    },
    auth: { ssh_user: sshUser },
    head_node_type: HEAD_NODE_TYPE,
    available_node_types: Object.fromEntries(
      [head, ...groups].map(({ name, resources, maxNodes, nodeConfig }): [string, NodeType] => [
        name,
        { min_workers: 0, max_workers: maxNodes, resources: rayResources(resources), node_config: nodeConfig },
      ]),
    ),
  };
}

interface NodeType {
  min_workers: number;
  max_workers: number;
  resources: Record<string, number>;
  node_config: Record<string, unknown>;
}

/** No worker is a head, and nothing is planned on the one that there is. */
const head: WorkerTemplate = {
  name: HEAD_NODE_TYPE,
  resources: { cpus: 0, gpus: 0, resources: {} },
  maxNodes: 0,
  nodeConfig: {},
};

/** What Ray's autoscaler is told that a machine of a group will have, in Ray's own names; memory in bytes. */
export function rayResources({ cpus, gpus, ...rest }: NodeResources): Record<string, number> {
  const memory = memoryBytes(rest);
  return {
    CPU: cpus,
    ...(gpus > 0 ? { GPU: gpus } : {}),
    ...(memory === undefined ? {} : { memory }),
    ...custom(rest),
  };
}

/** The options of `ray start` by which a machine says the same of itself. */
export function resourceOptions({ cpus, gpus, ...rest }: NodeResources): string[] {
  const memory = memoryBytes(rest);
  const own = custom(rest);
  return [
    `--num-cpus=${cpus}`,
    `--num-gpus=${gpus}`,
    ...(memory === undefined ? [] : [`--memory=${memory}`]),
    ...(Object.keys(own).length === 0 ? [] : [`--resources=${JSON.stringify(own)}`]),
  ];
}

function custom({ acceleratorType, resources }: Pick<NodeResources, "acceleratorType" | "resources">) {
  return { ...(acceleratorType === undefined ? {} : { [`accelerator_type:${acceleratorType}`]: 1 }), ...resources };
}

function memoryBytes({ memoryGiB }: Pick<NodeResources, "memoryGiB">): number | undefined {
  return memoryGiB === undefined ? undefined : Math.floor(memoryGiB * MEMORY_SHARE * GIB);
}
