import { resourcesOf } from "../instanceTypes";
import type { ServiceSpec, WorkerGroup } from "../serviceSpec";
import { asksItself, ingressOfPod } from "./ingress";
import { groupName, labelsOf } from "./names";
import type { KubernetesSettings } from "./settings";

export interface RayServiceArgs {
  /** Name of the RayService. */
  name: string;
  /** `PROJECT/STACK` */
  stack: string;
  spec: ServiceSpec;
  settings: KubernetesSettings;
  /** Seconds; KubeRay knows whole ones. */
  idleTimeoutSeconds: number;
}

/** Ports of a head as Ray has them by default, under the names that KubeRay makes its services of. */
export const ports = { gcs: 6379, client: 10001, dashboard: 8265, serve: 8000, metrics: 8080 } as const;

/** What a node's own software needs stays free, or no pod of a whole machine would fit on it. */
const CPU_SHARE = 0.85;
const MEMORY_SHARE = 0.8;
/** Where Ray is to count none, its own processes and Serve's proxy still need some: a pod without a request starves. */
const LEAST_MILLICPUS = 100;
/** Of a head that the spec says nothing of. */
const HEAD = { cpus: 1, memoryGiB: 4 };

/**
 * Of a head, whose first process does not heed the signal to end and uses all of it up. rayshift ends a head when its requests
 * have ended; where somebody else does, this is what those under way have.
 */
const HEAD_GRACE_SECONDS = 10;

const gpuToleration = { key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" };

/**
 * The RayService of one version: its cluster and nothing of its applications, whose config (`spec.serveConfigV2`) is the
 * business of the provider's Applications. KubeRay never replaces the cluster: a version is immutable.
 */
export function rayService({ name, stack, spec, settings, idleTimeoutSeconds }: RayServiceArgs) {
  const version = rayVersionOf(spec, settings);
  const ingress = asksItself({ spec, settings }) ? ingressOfPod({ name }) : undefined;
  const pods: OfAllPods = { spec, settings, labels: labelsOf(spec.name, stack, name), ingress };
  const idleSeconds = Math.ceil(idleTimeoutSeconds);
  return {
    apiVersion: "ray.io/v1",
    kind: "RayService",
    metadata: { name, namespace: settings.namespace, labels: pods.labels },
    spec: {
      upgradeStrategy: { type: "None" },
      rayClusterConfig: withoutUndefined({
        rayVersion: version,
        enableInTreeAutoscaling: true,
        autoscalerOptions: {
          version: "v2",
          upscalingMode: "Default",
          idleTimeoutSeconds: idleSeconds,
          ...autoscalerResources(settings),
        },
        authOptions: hasTokens(version) ? { mode: "token" } : undefined,
        gcsFaultToleranceOptions: faultTolerance(spec, settings),
        headGroupSpec: head(pods),
        workerGroupSpecs: spec.compute_config.worker_nodes.map((group) => worker(group, pods, idleSeconds)),
      }),
    },
  };
}

/** The version of Ray: the spec's, or that of the image's tag, as in `ray:2.52.1-py311-gpu`. */
export function rayVersionOf(spec: ServiceSpec, settings: Pick<KubernetesSettings, "image">): string | undefined {
  return spec.ray_version ?? /:(\d+\.\d+\.\d+)(?=$|[^\d.])/.exec(imageOf(spec, settings))?.[1];
}

/** KubeRay gives a cluster a token of its own from Ray 2.52 on. */
export function hasTokens(version: string | undefined): boolean {
  const [major = 0, minor = 0] = (version ?? "0.0").split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 52);
}

function imageOf(spec: ServiceSpec, settings: Pick<KubernetesSettings, "image">): string {
  return spec.image_uri ?? settings.image ?? "";
}

function head(pods: OfAllPods) {
  const { spec, settings } = pods;
  const { head_node: node, worker_nodes: groups } = spec.compute_config;
  const described = node?.instance_type !== undefined || node?.resources !== undefined;
  const has = described ? resourcesOf(node) : { ...HEAD, gpus: 0, resources: {} };
  // Beside worker groups the head runs no replicas: what runs there could not leave with its node.
  const cpus = groups.length > 0 && node?.resources?.CPU === undefined ? 0 : has.cpus;
  return {
    rayStartParams: {
      ...startParams({ ...has, cpus, gpus: groups.length > 0 ? 0 : has.gpus }),
      "dashboard-host": "0.0.0.0",
    },
    template: template({
      container: {
        name: "ray-head",
        ...image(spec, settings),
        ports: Object.entries(ports).map(([name, containerPort]) => ({
          name: name === "gcs" ? "gcs-server" : name,
          containerPort,
        })),
        resources: containerResources(has, node?.instance_type !== undefined),
      },
      pod: {
        ...placement(settings, node?.instance_type, has.gpus),
        terminationGracePeriodSeconds: HEAD_GRACE_SECONDS,
      },
      ...pods,
    }),
  };
}

function worker(group: WorkerGroup, pods: OfAllPods, idleTimeoutSeconds: number) {
  const { spec, settings } = pods;
  const has = resourcesOf(group);
  return {
    groupName: groupName(group.name),
    // `replicas` is the autoscaler's.
    minReplicas: group.min_nodes,
    maxReplicas: group.max_nodes,
    idleTimeoutSeconds,
    rayStartParams: startParams(has),
    template: template({
      container: {
        name: "ray-worker",
        ...image(spec, settings),
        resources: containerResources(has, group.instance_type !== undefined),
      },
      pod: placement(settings, group.instance_type, has.gpus),
      ...pods,
    }),
  };
}

type Resources = ReturnType<typeof resourcesOf>;

/** What Ray is told that a node has. Its autoscaler plans nodes that do not run yet by it. */
function startParams({ cpus, gpus, acceleratorType, resources }: Resources): Record<string, string> {
  const custom = {
    ...(acceleratorType === undefined ? {} : { [`accelerator_type:${acceleratorType}`]: 1 }),
    ...resources,
  };
  return {
    // Ray takes whole ones only, and a pod may ask for less than one.
    "num-cpus": String(Math.floor(cpus)),
    ...(gpus > 0 ? { "num-gpus": String(gpus) } : {}),
    // In the quotes that KubeRay and Ray's autoscaler both take off.
    ...(Object.keys(custom).length > 0 ? { resources: `"${JSON.stringify(custom).replaceAll('"', '\\"')}"` } : {}),
  };
}

/** @param ofMachine the numbers are those of a whole machine, of which a pod gets a part */
function containerResources(
  { cpus, gpus, memoryGiB }: Pick<Resources, "cpus" | "gpus" | "memoryGiB">,
  ofMachine: boolean,
) {
  const cpu = `${Math.max(LEAST_MILLICPUS, Math.round(cpus * 1000 * (ofMachine ? CPU_SHARE : 1)))}m`;
  const memory =
    memoryGiB === undefined ? {} : { memory: `${Math.floor(memoryGiB * 1024 * (ofMachine ? MEMORY_SHARE : 1))}Mi` };
  const gpu = gpus > 0 ? { "nvidia.com/gpu": String(gpus) } : {};
  // No limit of CPUs: what nobody else uses is for the replicas.
  return { requests: { cpu, ...memory, ...gpu }, limits: { ...memory, ...gpu } };
}

/** Both amounts always: KubeRay takes what it is given in place of all of its own. */
function autoscalerResources({ autoscalerResources: own }: KubernetesSettings) {
  if (own === undefined) return {};
  return { resources: { requests: own, limits: { memory: own.memory } } };
}

function placement(settings: KubernetesSettings, instanceType: string | undefined, gpus: number) {
  const nodeSelector = {
    ...(instanceType === undefined ? {} : { "node.kubernetes.io/instance-type": instanceType }),
    ...settings.nodeSelector,
  };
  const tolerations = [...(settings.tolerations ?? []), ...(gpus > 0 ? [gpuToleration] : [])];
  return {
    ...(Object.keys(nodeSelector).length > 0 ? { nodeSelector } : {}),
    ...(tolerations.length > 0 ? { tolerations } : {}),
  };
}

/** What is the same for all pods of a version. */
interface OfAllPods {
  spec: ServiceSpec;
  settings: KubernetesSettings;
  labels: Record<string, string>;
  ingress: ReturnType<typeof ingressOfPod> | undefined;
}

interface Template extends OfAllPods {
  container: object;
  pod: object;
}

function template({ container, pod, spec, settings, labels, ingress }: Template) {
  const pullSecrets = [
    ...(settings.imagePullSecrets ?? []),
    ...(spec.registry_login_secret ? [spec.registry_login_secret] : []),
  ];
  return {
    metadata: { labels },
    spec: {
      containers: [{ ...container, ...ingress?.container }],
      ...pod,
      ...ingress?.pod,
      ...(settings.serviceAccountName === undefined ? {} : { serviceAccountName: settings.serviceAccountName }),
      ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: [...new Set(pullSecrets)].map((name) => ({ name })) }),
    },
  };
}

function image(spec: ServiceSpec, settings: KubernetesSettings) {
  const { imagePullPolicy } = settings;
  return { image: imageOf(spec, settings), ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }) };
}

/** The state of the head in a Redis: the spec's own, or the one that the stack has for all versions. */
function faultTolerance(spec: ServiceSpec, { redis }: KubernetesSettings) {
  const own = spec.ray_gcs_external_storage_config;
  const address = own?.address ?? redis?.address;
  if (own?.enabled === false || address === undefined) return undefined;
  const { passwordSecret } = redis ?? {};
  return {
    redisAddress: address,
    ...(passwordSecret === undefined ? {} : { redisPassword: { valueFrom: { secretKeyRef: passwordSecret } } }),
  };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as T;
}
