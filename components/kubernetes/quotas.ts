import { ApiServerRefused, type KubernetesObject, listObjects } from "../../provider/kubernetes/api";
import { type Pod, takesUp } from "../../provider/kubernetes/pods";
import { type Demand, demandsOf, peakOf } from "../../rollout/peaks";
import { type Goal, planSummary, primaryOnly, traversed, type Waypoint } from "../../rollout/plan";
import { roundedUpReplicas } from "../../rollout/replicas";
import { resourcesOf } from "../instanceTypes";
import { waypointOf } from "../placement";
import type { Problem } from "../problems";
import type { PlacedVersion, RolloutRecord, Version } from "../record";
import { labelPrefix, rayServiceName } from "./names";
import { amountOf } from "./quantities";
import { rayService } from "./rayService";
import { autoscalerDefaults, type KubernetesSettings } from "./settings";

/** What a deploy is to do. */
export interface Intent {
  wanted: Version;
  recorded: Pick<RolloutRecord, "primary" | "canary" | "surge"> | undefined;
  /** Percent; absent: that of the record. */
  maxSurgePercent?: number | undefined;
  /** Percent of a hold. */
  canaryPercent?: number | undefined;
}

/** Problems are certain; a notice goes by what the running version takes. Paths are below `rayshift:kubernetes`. */
export interface QuotaFindings {
  problems: Problem[];
  notices: string[];
}

export interface ResourceQuota extends KubernetesObject {
  spec?: { hard?: Record<string, string>; scopes?: string[]; scopeSelector?: object };
  status?: { hard?: Record<string, string>; used?: Record<string, string> };
}

/** What pods take of a quota. */
type Kind = "pods" | "gpus" | "cpus" | "memory";

const kinds: Record<string, Kind> = {
  pods: "pods",
  "count/pods": "pods",
  "requests.nvidia.com/gpu": "gpus",
  cpu: "cpus",
  "requests.cpu": "cpus",
  memory: "memory",
  "requests.memory": "memory",
};

/** What a container asks for it by. */
const requested = { gpus: "nvidia.com/gpu", cpus: "cpu", memory: "memory" } as const;

/** Of sums of fractions. */
const NOTHING = 1e-6;

/**
 * Compares what both clusters take at most, on the way to what is wanted, with what the quotas of the namespace leave.
 *
 * @throws ApiServerRefused and ApiServerUnreachable as the API server does, but for an account that may not read quotas
 */
export async function quotaFindings(settings: KubernetesSettings, intent: Intent): Promise<QuotaFindings> {
  const { namespace } = settings;
  const { wanted, recorded } = intent;
  const runs = [recorded?.primary, recorded?.canary].some((version) => version?.digest === wanted.digest);
  if (runs && recorded?.canary?.digest !== wanted.digest) return { problems: [], notices: [] };
  try {
    const quotas = await listObjects<ResourceQuota>(settings, `/api/v1/namespaces/${namespace}/resourcequotas`);
    if (quotas.length === 0) return { problems: [], notices: [] };
    const selector = encodeURIComponent(`${labelPrefix}/service=${wanted.spec.name}`);
    const pods = await listObjects<Pod>(settings, `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`);
    return compare(settings, intent, quotas, pods.filter(takesUp));
  } catch (error) {
    if (!(error instanceof ApiServerRefused) || error.status !== 403) throw error;
    return {
      problems: [],
      notices: [
        `The quotas of namespace ${namespace} were not compared with what 100 + surge take, because this account may not list ` +
          "resourcequotas (examples/kubernetes/access.yaml has the right).",
      ],
    };
  }
}

/** @param own pods of the service as they are now */
export function compare(
  settings: KubernetesSettings,
  intent: Intent,
  quotas: readonly ResourceQuota[],
  own: readonly Pod[],
): QuotaFindings {
  const { namespace } = settings;
  const findings: QuotaFindings = { problems: [], notices: [] };
  for (const { metadata, spec, status } of quotas) {
    // Which pods a scope means is the API server's business.
    if (spec?.scopes !== undefined || spec?.scopeSelector !== undefined) continue;
    for (const [resource, limit] of Object.entries(status?.hard ?? spec?.hard ?? {})) {
      const kind = kinds[resource];
      const hard = amountOf(limit);
      if (kind === undefined || hard === undefined) continue;
      const used = amountOf(status?.used?.[resource] ?? 0) ?? 0;
      const others = Math.max(0, used - taken(kind, own));
      const left = hard - others;
      const show = (amount: number) => shown(kind, amount);
      const quota = `ResourceQuota ${namespace}/${metadata.name}`;
      const rest = others > NOTHING ? `, and other pods have ${show(others)}` : "";
      const rule = `leaves this service ${show(left)} of ${resource} (${show(hard)}${rest})`;
      const mostAt = (demands: Demands) => (surge: number | undefined) =>
        most(kind, demands, { settings, own, intent: { ...intent, maxSurgePercent: surge } });
      const certain = mostAt(demandsOfSpec)(intent.maxSurgePercent);
      if (certain - left > NOTHING) {
        const path = "namespace";
        const remedy = remedyFor(left, mostAt(demandsOfSpec));
        findings.problems.push({
          path,
          value: namespace,
          rule: `has a quota that is too small: ${quota} ${rule}; ${what(intent)} at least ${show(certain)}`,
          remedy: intent.recorded === undefined ? "raise it, or ask for fewer replicas" : remedy,
        });
        continue;
      }
      const likely = mostAt(demandsOfPods)(intent.maxSurgePercent);
      if (likely - left <= NOTHING) continue;
      const remedy = remedyFor(left, mostAt(demandsOfPods));
      findings.notices.push(
        `${quota} ${rule}. Where a replica of ${intent.wanted.name} takes what one of the running version does, ` +
          `${what(intent)} ${show(likely)}, and pods would be refused: ${remedy}.`,
      );
    }
  }
  return findings;
}

/** What is compared with a quota. */
interface Compared {
  settings: KubernetesSettings;
  intent: Intent;
  /** Pods of the service as they are now. */
  own: readonly Pod[];
}

/** Demands of a version in its role, whose `gpus` are what of the kind a replica takes. */
type Demands = (kind: Kind, version: Version, role: "primary" | "canary", compared: Compared) => Demand[];

/** The most that the clusters of the walk take together. */
function most(kind: Kind, demands: Demands, compared: Compared): number {
  const { wanted, recorded } = compared.intent;
  if (recorded === undefined) {
    const alone = { primary: demands(kind, wanted, "primary", compared), canary: [] };
    return withHeads(kind, [wanted], peakOf(alone, [primaryOnly])?.gpus?.least, compared);
  }
  const { primary } = recorded;
  const both = {
    primary: demands(kind, primary, "primary", compared),
    canary: demands(kind, wanted, "canary", compared),
  };
  return withHeads(kind, [primary, wanted], peakOf(both, instantsOf(compared.intent))?.gpus?.least, compared);
}

/** @param amount what the workers take, a sum of fractions as three replicas of 0.1 GPUs are */
function withHeads(kind: Kind, versions: readonly Version[], amount = 0, compared: Compared): number {
  const workers = kind === "pods" || kind === "gpus" ? Math.ceil(amount - NOTHING) : amount;
  if (kind === "gpus") return workers;
  const sum = (each: (version: Version) => number) => versions.reduce((total, version) => total + each(version), 0);
  const kept = sum((version) => {
    const { groups } = podsOfSpec(kind, version, compared.settings);
    return groups.reduce((total, { takes, least }) => total + takes * least, 0);
  });
  return sum((version) => ofHead(kind, version, compared)) + Math.max(workers, kept);
}

/** What the head takes: the running one what it was made with, another one what the settings say. */
function ofHead(kind: Kind, version: Version, { settings, intent, own }: Compared): number {
  const { primary } = intent.recorded ?? {};
  const runs = version === primary ? podsIn(primary, "head", own) : [];
  return runs.length > 0 ? taken(kind, runs.slice(0, 1)) : podsOfSpec(kind, version, settings).head;
}

/** What one pod of each kind takes, as the RayService asks for it. */
function podsOfSpec(kind: Kind, { spec }: Version, settings: KubernetesSettings) {
  const described = { name: spec.name, stack: "", spec, settings, idleTimeoutSeconds: 0 };
  const { headGroupSpec, workerGroupSpecs } = rayService(described).spec.rayClusterConfig;
  const takes = (group: { template: object }) => taken(kind, [group.template as Pick<Pod, "spec">]);
  const { cpu, memory } = settings.autoscalerResources ?? autoscalerDefaults;
  const autoscaler: Partial<Record<Kind, number>> = { cpus: amountOf(cpu) ?? 0, memory: amountOf(memory) ?? 0 };
  return {
    head: takes(headGroupSpec) + (autoscaler[kind] ?? 0),
    groups: workerGroupSpecs.map((group) => ({ takes: takes(group), least: group.minReplicas })),
  };
}

function instantsOf({ wanted, recorded, maxSurgePercent, canaryPercent }: Intent): Waypoint[] {
  if (recorded === undefined) return [primaryOnly];
  // A canary of another version goes back first.
  const from = recorded.canary?.digest === wanted.digest ? waypointOf(recorded) : primaryOnly;
  const goal: Goal = { kind: "split", traffic: canaryPercent ?? 100, surge: maxSurgePercent ?? recorded.surge };
  const waypoints = planSummary(from, goal).updates.map(({ waypoint }) => waypoint);
  return [from, ...waypoints.flatMap((waypoint, index) => traversed(waypoints[index - 1] ?? from, waypoint))];
}

/** By what the spec says of replicas and their GPUs; what it leaves to the code counts for nothing. */
function demandsOfSpec(kind: Kind, version: Version, role: "primary" | "canary", { settings }: Compared): Demand[] {
  const { spec } = version;
  const perPod = Math.max(1, ...spec.compute_config.worker_nodes.map((group) => resourcesOf(group).gpus));
  const { groups } = podsOfSpec(kind, version, settings);
  const ofPod = groups.length === 0 ? 0 : Math.min(...groups.map(({ takes }) => takes));
  const demands = demandsOf(spec, role, undefined) ?? [];
  return demands.map(({ replicas, gpus = 0 }) => ({
    replicas,
    gpus: kind === "gpus" ? gpus : (gpus / perPod) * ofPod,
  }));
}

/** By what the spec says of replicas, each of which takes what one of the primary's does now. */
function demandsOfPods(
  kind: Kind,
  { spec }: Version,
  role: "primary" | "canary",
  { intent: { recorded }, own }: Compared,
): Demand[] {
  const primary = recorded?.primary;
  const runs = primary === undefined ? 0 : replicasNow(primary);
  if (primary === undefined || runs === 0) return [];
  const each = taken(kind, podsIn(primary, "worker", own)) / runs;
  return (demandsOf(spec, role, undefined) ?? []).map(({ replicas }) => ({ replicas, gpus: each }));
}

function replicasNow({ spec, capacity }: PlacedVersion): number {
  const demands = demandsOf(spec, "primary", undefined) ?? [];
  return demands.reduce((sum, { replicas }) => sum + roundedUpReplicas(replicas.least, capacity ?? 100), 0);
}

function podsIn({ spec, cluster }: PlacedVersion, type: "head" | "worker", own: readonly Pod[]): Pod[] {
  const name = rayServiceName(spec.name, cluster);
  return own.filter(
    ({ metadata: { labels = {} } }) => labels[`${labelPrefix}/cluster`] === name && labels["ray.io/node-type"] === type,
  );
}

/** By Kubernetes' own rule: all containers of a pod together, or the largest of those that run before them. */
function taken(kind: Kind, pods: ReadonlyArray<Pick<Pod, "spec">>): number {
  if (kind === "pods") return pods.length;
  const amount = (requests?: Record<string, string>) => amountOf(requests?.[requested[kind]] ?? 0) ?? 0;
  return pods.reduce((sum, { spec: { containers = [], initContainers = [], overhead } = {} }) => {
    // With `Always` one of those that run before goes on beside the others.
    const beside = [...containers, ...initContainers.filter(({ restartPolicy }) => restartPolicy === "Always")];
    const together = beside.reduce((total, { resources }) => total + amount(resources?.requests), 0);
    const before = initContainers.map(({ resources }) => amount(resources?.requests));
    return sum + Math.max(together, ...before) + amount(overhead);
  }, 0);
}

function shown(kind: Kind, amount: number): string {
  return kind === "memory" ? `${Math.round(amount / 2 ** 20)}Mi` : String(Math.round(amount * 1000) / 1000);
}

const what = ({ wanted, recorded, maxSurgePercent }: Intent) => {
  if (recorded === undefined) return `${wanted.name} takes`;
  const surge = maxSurgePercent ?? recorded.surge;
  const versions = `${recorded.primary.name} and ${wanted.name}`;
  return surge === undefined ? `${versions}, both in full, take` : `100 + ${surge} percent of ${versions} take`;
};

function remedyFor(left: number, mostAt: (surge: number) => number): string {
  for (let surge = 100; surge > 0; surge--) {
    if (mostAt(surge) - left <= NOTHING) return `--max-surge-percent ${surge} fits, or raise the quota`;
  }
  return "no surge fits: raise the quota, or ask for fewer replicas";
}
