import type { Resources } from "../../fake/nodes";
import type { KubernetesObject } from "./api";
import type { PodGroup } from "./podNodes";

interface Container {
  resources?: { limits?: Record<string, string | number>; requests?: Record<string, string | number> };
}

/** Head or worker group of a RayCluster. */
interface GroupSpec {
  groupName?: string;
  replicas?: number;
  minReplicas?: number;
  maxReplicas?: number;
  rayStartParams?: Record<string, string>;
  template: { spec: { containers: Container[] } };
}

const DEFAULT_IDLE_SECONDS = 60;
/** What KubeRay takes for a group without an upper bound. */
const UNBOUNDED = 2 ** 31 - 1;

/** What the head of a RayCluster offers to replicas. */
export function headResources(cluster: KubernetesObject): Resources {
  return resourcesOf(cluster.spec.headGroupSpec as GroupSpec);
}

export function groupsOf(cluster: KubernetesObject): PodGroup[] {
  return ((cluster.spec.workerGroupSpecs ?? []) as GroupSpec[]).map((spec) => ({
    name: spec.groupName ?? "",
    resources: resourcesOf(spec),
    replicas: spec.replicas ?? 0,
    minReplicas: spec.minReplicas ?? 0,
    maxReplicas: spec.maxReplicas ?? UNBOUNDED,
  }));
}

/** ms after which its autoscaler lets a worker without replicas go. */
export function idleMs(cluster: KubernetesObject): number {
  return (cluster.spec.autoscalerOptions?.idleTimeoutSeconds ?? DEFAULT_IDLE_SECONDS) * 1000;
}

/** What a node of the group has for Ray: rayStartParams before limits before requests, as with KubeRay. */
function resourcesOf({ rayStartParams = {}, template }: GroupSpec): Resources {
  const { limits = {}, requests = {} } = template.spec.containers[0]?.resources ?? {};
  const amount = (name: string) => quantity(limits[name] ?? requests[name] ?? 0);
  const custom = JSON.parse(rayStartParams.resources?.replace(/^["']|["']$/g, "").replaceAll("\\", "") ?? "{}");
  return {
    CPU: Number(rayStartParams["num-cpus"] ?? Math.ceil(amount("cpu"))),
    GPU: Number(rayStartParams["num-gpus"] ?? amount("nvidia.com/gpu")),
    ...(custom as Resources),
  };
}

/** Counts and thousandths; Ray's memory is left out. */
function quantity(value: string | number): number {
  const text = String(value);
  return text.endsWith("m") ? Number(text.slice(0, -1)) / 1000 : Number(text);
}
