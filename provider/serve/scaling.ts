/**
 * The replica counts that are sent to Ray at a capacity.
 *
 * A capacity rounds up and Ray rounds half up, so some counts are sent higher than declared. Ray compares a deployment
 * with what it was sent before, which sets three more rules:
 * - every deployment is named in every config, with its count, also those that only the code names. Ray counts the
 *   autoscaling_configs of an application into its code version: one that comes or goes restarts all its replicas;
 * - initial_replicas is sent only when replicas start from none. Ray sets a deployment back to it at every change of its
 *   config, away from what its load needs;
 * - so on a canary it counts as min_replicas, which is the floor that is wanted and is never set back to.
 *
 * Beside the counts goes the time that a replica has to end its requests, where nobody chose one: Ray picks the replicas
 * that end when a cluster shrinks, and cuts off after 20 s whatever they still answer, a stream of tokens too.
 */

import { isDeepStrictEqual } from "node:util";
import { countToSend, rayReplicas, roundedUpReplicas } from "../../rollout/replicas";
import { rebuildingOptions } from "./changes";
import {
  type ApplicationConfig,
  type AutoscalingConfig,
  applicationName,
  type DeploymentConfig,
  type ServeConfig,
  type ServeDeployment,
} from "./config";
import type { DeploymentObservation, Observation } from "./observation";

/** A deployment's count at 100 %, from code and config together; "unknown" until it is read from a cluster. */
export type Count = KnownCount | "unknown";
type KnownCount = ({ replicas: number } | { autoscaling: AutoscalingConfig }) & {
  /** The code's own graceful_shutdown_timeout_s, where it is not Ray's default. */
  shutdownSeconds?: number;
};

/** By application and deployment. An application that was not built yet is absent. */
export type DeclaredCounts = Record<string, Record<string, Count>>;

/** How initial_replicas counts: on a canary as the floor, where replicas start from none as the first count. */
export type InitialReplicas = "floor" | "start" | "ignored";

/** How many replicas are to run: the same twice, unless the deployment scales by itself. */
export interface ReplicaBounds {
  atLeast: number;
  atMost: number;
}

/** By application and deployment. */
export type ExpectedReplicas = Record<string, Record<string, ReplicaBounds>>;

const RAY_SHUTDOWN_SECONDS = 20;
const DEFAULT_POLICY = "ray.serve.autoscaling_policy:default_autoscaling_policy";

/**
 * The config to PUT so that every deployment runs at `capacity` percent, rounded up. Counts that are not known are left
 * as the config has them.
 *
 * @param drainTimeoutSeconds how long a replica that ends may go on with its requests; absent: Ray's default
 */
export function configToSend(
  config: ServeConfig,
  capacity: number | null,
  declared: DeclaredCounts,
  initial: InitialReplicas,
  drainTimeoutSeconds?: number,
): ServeDeployment {
  const applications = config.applications.map((application) => {
    const counts = declared[applicationName(application)] ?? {};
    const entries = application.deployments ?? [];
    const unlisted = Object.keys(counts).filter((name) => !entries.some((entry) => entry.name === name));
    const all = [...entries, ...unlisted.sort().map((name): DeploymentConfig => ({ name }))];
    if (all.length === 0) return application;
    return {
      ...application,
      deployments: all.map((entry) => {
        const count = counts[entry.name];
        if (count === undefined || count === "unknown") return entry;
        return withShutdown(entryToSend(entry, count, capacity, initial), count, drainTimeoutSeconds);
      }),
    };
  });
  return { ...config, applications, target_capacity: capacity };
}

/** The config that makes Ray say what the code declares, without a replica being started. */
export function configToLearnFrom(config: ServeConfig): ServeDeployment {
  const applications = config.applications.map((application) => {
    if (application.deployments === undefined) return application;
    return { ...application, deployments: application.deployments.map(withoutInitialReplicas) };
  });
  return { ...config, applications, target_capacity: 0 };
}

/** The declared counts as read from a cluster that was sent them unrounded; what is in `known` already is kept. */
export function declaredCounts(observation: Observation, config: ServeConfig, known: DeclaredCounts): DeclaredCounts {
  const declared: DeclaredCounts = {};
  for (const application of config.applications) {
    const name = applicationName(application);
    const observed = observation.applications[name]?.deployments ?? {};
    declared[name] = {};
    for (const [deployment, read] of Object.entries(observed)) {
      const before = known[name]?.[deployment];
      declared[name][deployment] =
        before === undefined || before === "unknown" ? countOf(read, entryOf(application, deployment)) : before;
    }
  }
  return declared;
}

/** The counts learned for `before` that hold for `after` too, though Ray was not asked. */
export function carriedOver(before: ServeConfig, after: ServeConfig, declared: DeclaredCounts): DeclaredCounts {
  const carried: DeclaredCounts = {};
  for (const application of after.applications) {
    const name = applicationName(application);
    const counts = declared[name];
    const previous = before.applications.find((each) => applicationName(each) === name);
    if (counts === undefined || previous === undefined || rebuildingOptions(previous, application).length > 0) continue;
    const unchanged = (deployment: string) =>
      isDeepStrictEqual(countOptions(entryOf(previous, deployment)), countOptions(entryOf(application, deployment)));
    carried[name] = Object.fromEntries(
      Object.entries(counts).map(([deployment, count]) => [deployment, unchanged(deployment) ? count : "unknown"]),
    );
  }
  return carried;
}

/** Whether every count of the config is known. */
export function isLearned(config: ServeConfig, declared: DeclaredCounts): boolean {
  return config.applications.every((application) => {
    const counts = declared[applicationName(application)];
    return counts !== undefined && !Object.values(counts).includes("unknown");
  });
}

/** Replicas of every deployment at `capacity` percent, once configToSend was PUT and Ray has converged. */
export function expectedReplicas(
  declared: DeclaredCounts,
  capacity: number | null,
  initial: InitialReplicas,
): ExpectedReplicas {
  return mapDeployments(declared, (count) => {
    const { floor, ceiling } = boundsOf(count, initial);
    return { atLeast: roundedUpReplicas(floor, capacity ?? 100), atMost: roundedUpReplicas(ceiling, capacity ?? 100) };
  });
}

/** Replicas as Ray itself rounds them from the counts it holds. */
export function replicasRayRuns(observed: DeploymentObservation, capacity: number | null): ReplicaBounds {
  return {
    atLeast: rayReplicas(observed.full, capacity ?? 100),
    atMost: rayReplicas(observed.autoscaling?.max ?? observed.full, capacity ?? 100),
  };
}

function entryToSend(
  entry: DeploymentConfig,
  count: KnownCount,
  capacity: number | null,
  initial: InitialReplicas,
): DeploymentConfig {
  const send = (replicas: number) => countToSend(replicas, capacity ?? 100);
  if ("replicas" in count) return { ...entry, num_replicas: send(count.replicas) };
  // A number beside an autoscaling_config is rejected by Ray, and has no effect where the code declares one.
  const { num_replicas, ...options } = entry;
  const { floor, ceiling } = boundsOf(count, initial);
  const { initial_replicas: first, ...rest } = entry.autoscaling_config ?? count.autoscaling;
  const start = first ?? count.autoscaling.initial_replicas;
  return {
    ...options,
    ...(num_replicas === "auto" ? { num_replicas } : {}),
    autoscaling_config: {
      ...rest,
      min_replicas: send(floor),
      ...(initial === "start" && typeof start === "number" ? { initial_replicas: send(start) } : {}),
      max_replicas: send(ceiling),
    },
  };
}

/** What the config or the code says of a deployment's own shutdown stays as it is; Ray's default only ever grows. */
function withShutdown(entry: DeploymentConfig, count: KnownCount, drainTimeoutSeconds = 0): DeploymentConfig {
  const chosen = entry.graceful_shutdown_timeout_s !== undefined || count.shutdownSeconds !== undefined;
  if (chosen || drainTimeoutSeconds <= RAY_SHUTDOWN_SECONDS) return entry;
  return { ...entry, graceful_shutdown_timeout_s: drainTimeoutSeconds };
}

function boundsOf(count: Count, initial: InitialReplicas): { floor: number; ceiling: number } {
  if (count === "unknown") return { floor: 0, ceiling: Number.MAX_SAFE_INTEGER };
  if ("replicas" in count) return { floor: count.replicas, ceiling: count.replicas };
  const { min_replicas = 1, initial_replicas, max_replicas = 1 } = count.autoscaling;
  return {
    floor: initial === "floor" ? Math.max(min_replicas, initial_replicas ?? 0) : min_replicas,
    ceiling: max_replicas,
  };
}

function countOf(read: DeploymentObservation, entry: DeploymentConfig | undefined): Count {
  const seconds = read.gracefulShutdownTimeout;
  const byCode = entry?.graceful_shutdown_timeout_s === undefined && seconds !== RAY_SHUTDOWN_SECONDS;
  const shutdown = byCode ? { shutdownSeconds: seconds } : {};
  if (read.autoscalingConfig === undefined) return { replicas: read.full, ...shutdown };
  const { policy, initial_replicas, ...options } = read.autoscalingConfig;
  const set = Object.entries(options).filter(([, value]) => value !== null && value !== undefined);
  const initial = entry?.autoscaling_config?.initial_replicas ?? initial_replicas;
  return {
    autoscaling: {
      ...Object.fromEntries(set),
      ...(isDefaultPolicy(policy) ? {} : { policy }),
      ...(typeof initial === "number" ? { initial_replicas: initial } : {}),
    },
    ...shutdown,
  };
}

function isDefaultPolicy(policy: unknown): boolean {
  return ((policy ?? {}) as { policy_function?: unknown }).policy_function === DEFAULT_POLICY || policy === undefined;
}

function withoutInitialReplicas(entry: DeploymentConfig): DeploymentConfig {
  if (!entry.autoscaling_config) return entry;
  const { initial_replicas: _unsent, ...autoscaling_config } = entry.autoscaling_config;
  return { ...entry, autoscaling_config };
}

function entryOf(application: ApplicationConfig, deployment: string): DeploymentConfig | undefined {
  return application.deployments?.find((entry) => entry.name === deployment);
}

const countOptions = (entry: DeploymentConfig | undefined) => [
  entry?.num_replicas,
  entry?.autoscaling_config,
  entry?.graceful_shutdown_timeout_s,
];

function mapDeployments<A, B>(
  record: Record<string, Record<string, A>>,
  map: (value: A) => B,
): Record<string, Record<string, B>> {
  return Object.fromEntries(
    Object.entries(record).map(([application, deployments]) => [
      application,
      Object.fromEntries(Object.entries(deployments).map(([name, value]) => [name, map(value)])),
    ]),
  );
}
