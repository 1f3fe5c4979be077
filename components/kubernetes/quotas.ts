import { ApiServerRefused, type KubernetesObject, listObjects } from "../../provider/kubernetes/api";
import { type Pod, takesUp } from "../../provider/kubernetes/pods";
import { type Demand, demandsOf, peakOf } from "../../rollout/peaks";
import { type Goal, planSummary, primaryOnly, traversed, type Waypoint } from "../../rollout/plan";
import { roundedUpReplicas } from "../../rollout/replicas";
import { resourcesOf } from "../instanceTypes";
import { waypointOf } from "../placement";
import type { Problem } from "../problems";
import type { PlacedVersion, RolloutRecord, Version } from "../record";
import { labelPrefix } from "./names";
import type { KubernetesSettings } from "./settings";

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
type Kind = "pods" | "gpus";

const kinds: Record<string, Kind> = { pods: "pods", "count/pods": "pods", "requests.nvidia.com/gpu": "gpus" };

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
    return compare(namespace, intent, quotas, pods.filter(takesUp));
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
  namespace: string,
  intent: Intent,
  quotas: readonly ResourceQuota[],
  own: readonly Pod[],
): QuotaFindings {
  const findings: QuotaFindings = { problems: [], notices: [] };
  for (const { metadata, spec, status } of quotas) {
    // Which pods a scope means is the API server's business.
    if (spec?.scopes !== undefined || spec?.scopeSelector !== undefined) continue;
    for (const [resource, limit] of Object.entries(status?.hard ?? spec?.hard ?? {})) {
      const kind = kinds[resource];
      const hard = Number(limit);
      if (kind === undefined || Number.isNaN(hard)) continue;
      const others = Math.max(0, Number(status?.used?.[resource] ?? 0) - taken(kind, own));
      const left = hard - others;
      const quota = `ResourceQuota ${namespace}/${metadata.name}`;
      const rule = `leaves this service ${left} of ${resource} (${hard}${others > 0 ? `, and other pods have ${others}` : ""})`;
      const certain = most(kind, intent, demandsOfSpec, own);
      if (certain > left) {
        const path = "namespace";
        const remedy = remedyFor(left, (surge) =>
          most(kind, { ...intent, maxSurgePercent: surge }, demandsOfSpec, own),
        );
        findings.problems.push({
          path,
          value: namespace,
          rule: `has a quota that is too small: ${quota} ${rule}; ${what(intent)} at least ${certain}`,
          remedy: intent.recorded === undefined ? "raise it, or ask for fewer replicas" : remedy,
        });
        continue;
      }
      const likely = most(kind, intent, demandsOfPods, own);
      if (likely <= left) continue;
      const remedy = remedyFor(left, (surge) => most(kind, { ...intent, maxSurgePercent: surge }, demandsOfPods, own));
      findings.notices.push(
        `${quota} ${rule}. Where a replica of ${intent.wanted.name} takes what one of the running version does, ` +
          `${what(intent)} ${likely}, and pods would be refused: ${remedy}.`,
      );
    }
  }
  return findings;
}

/** Demands of a version in its role, whose `gpus` are what of the kind a replica takes. */
type Demands = (
  kind: Kind,
  version: Version,
  role: "primary" | "canary",
  intent: Intent,
  own: readonly Pod[],
) => Demand[];

/** The most that the clusters of the walk take together. */
function most(kind: Kind, intent: Intent, demands: Demands, own: readonly Pod[]): number {
  const { wanted, recorded } = intent;
  if (recorded === undefined) {
    const alone = { primary: demands(kind, wanted, "primary", intent, own), canary: [] };
    return withHeads(kind, [wanted], whole(peakOf(alone, [primaryOnly])?.gpus?.least));
  }
  const { primary } = recorded;
  const both = {
    primary: demands(kind, primary, "primary", intent, own),
    canary: demands(kind, wanted, "canary", intent, own),
  };
  const workers = whole(peakOf(both, instantsOf(intent))?.gpus?.least);
  return withHeads(kind, [primary, wanted], workers);
}

/** Of sums of fractions, as three replicas of 0.1 GPUs are. */
const whole = (amount = 0) => Math.ceil(amount - 1e-9);

function withHeads(kind: Kind, versions: readonly Version[], workers: number): number {
  if (kind === "gpus") return workers;
  const kept = versions.flatMap(({ spec }) => spec.compute_config.worker_nodes.map(({ min_nodes }) => min_nodes));
  return (
    versions.length +
    Math.max(
      workers,
      kept.reduce((sum, count) => sum + count, 0),
    )
  );
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
function demandsOfSpec(kind: Kind, { spec }: Version, role: "primary" | "canary"): Demand[] {
  const perPod = Math.max(1, ...spec.compute_config.worker_nodes.map((group) => resourcesOf(group).gpus));
  const demands = demandsOf(spec, role, undefined) ?? [];
  return demands.map(({ replicas, gpus = 0 }) => ({ replicas, gpus: kind === "gpus" ? gpus : gpus / perPod }));
}

/** By what the spec says of replicas, each of which takes what one of the primary's does now. */
function demandsOfPods(
  kind: Kind,
  { spec }: Version,
  role: "primary" | "canary",
  { recorded }: Intent,
  own: readonly Pod[],
): Demand[] {
  const primary = recorded?.primary;
  const runs = primary === undefined ? 0 : replicasNow(primary);
  if (primary === undefined || runs === 0) return [];
  const cluster = `${primary.spec.name}-${primary.cluster}`;
  const workers = own.filter(
    ({ metadata: { labels = {} } }) =>
      labels[`${labelPrefix}/cluster`] === cluster && labels["ray.io/node-type"] === "worker",
  );
  const each = taken(kind, workers) / runs;
  return (demandsOf(spec, role, undefined) ?? []).map(({ replicas }) => ({ replicas, gpus: each }));
}

function replicasNow({ spec, capacity }: PlacedVersion): number {
  const demands = demandsOf(spec, "primary", undefined) ?? [];
  return demands.reduce((sum, { replicas }) => sum + roundedUpReplicas(replicas.least, capacity ?? 100), 0);
}

function taken(kind: Kind, pods: readonly Pod[]): number {
  if (kind === "pods") return pods.length;
  const containers = pods.flatMap(({ spec }) => spec?.containers ?? []);
  return containers.reduce((sum, { resources }) => sum + Number(resources?.requests?.["nvidia.com/gpu"] ?? 0), 0);
}

const what = ({ wanted, recorded, maxSurgePercent }: Intent) => {
  if (recorded === undefined) return `${wanted.name} takes`;
  const surge = maxSurgePercent ?? recorded.surge;
  const versions = `${recorded.primary.name} and ${wanted.name}`;
  return surge === undefined ? `${versions}, both in full, take` : `100 + ${surge} percent of ${versions} take`;
};

function remedyFor(left: number, mostAt: (surge: number) => number): string {
  for (let surge = 100; surge > 0; surge--) {
    if (mostAt(surge) <= left) return `--max-surge-percent ${surge} fits, or raise the quota`;
  }
  return "no surge fits: raise the quota, or ask for fewer replicas";
}
