import { z } from "zod";
import type { AutoscalingConfig } from "./config";

/** What Ray Serve says runs on one cluster, at one instant. */
export interface Observation {
  /** The target_capacity Ray holds, in percent; null counts as 100 and sets no bounds. */
  targetCapacity: number | null;
  /** By application name. Empty when Serve does not run. */
  applications: Record<string, ApplicationObservation>;
}

export interface ApplicationObservation {
  /** NOT_STARTED, DEPLOYING, DEPLOY_FAILED, RUNNING, UNHEALTHY or DELETING. */
  status: string;
  message: string;
  /** By deployment name. Empty until the application's code was imported. */
  deployments: Record<string, DeploymentObservation>;
}

export interface DeploymentObservation {
  /** UPDATING, HEALTHY, UNHEALTHY, DEPLOY_FAILED, UPSCALING or DOWNSCALING. Old while the application is DEPLOYING. */
  status: string;
  message: string;
  /** Ray's status_trigger: what led to the status. */
  trigger: string;
  /** How many replicas Ray wants now, capacity and autoscaling counted in. Old while the application is DEPLOYING. */
  targetReplicas: number;
  /** Replicas that serve requests. */
  running: number;
  /** Replicas by state: STARTING, UPDATING, RECOVERING, RUNNING, STOPPING, PENDING_MIGRATION. */
  byState: Record<string, number>;
  /**
   * Replicas at 100 %, as Ray holds them from code and config together: num_replicas, or min_replicas where it scales by
   * itself. It is above the declared count where Ray's rounding would run too few at the present capacity.
   */
  full: number;
  /** Its bounds at 100 %, when it scales by itself. */
  autoscaling?: { min: number; initial?: number; max: number };
  /** The autoscaling_config Ray holds, whole. */
  autoscalingConfig?: AutoscalingConfig;
  /** Requests that a replica works on at a time. */
  maxOngoingRequests: number;
  /** Seconds a replica has to end its requests. */
  gracefulShutdownTimeout: number;
  /** Ids of all replicas, whatever their state, in Ray's order. */
  replicaIds: string[];
  /** Ids of the nodes that replicas are on, in whatever state. */
  nodeIds: string[];
  /** Ids of the replicas that serve requests. */
  runningIds: string[];
}

/** A replica that is to move off its node goes on serving until its successor runs. */
const SERVING = new Set(["RUNNING", "PENDING_MIGRATION"]);

const count = z.number().int().nonnegative();
const replicaSchema = z.object({ replica_id: z.string(), state: z.string(), node_id: z.string().nullish() });
const autoscalingSchema = z.looseObject({
  min_replicas: count.default(1),
  initial_replicas: count.nullish(),
  max_replicas: count.default(1),
});
const deploymentSchema = z.object({
  status: z.string(),
  status_trigger: z.string().default("UNSPECIFIED"),
  message: z.string().nullish(),
  target_num_replicas: count.default(0),
  replicas: z.array(replicaSchema).default([]),
  deployment_config: z
    .object({
      num_replicas: count.nullish(),
      autoscaling_config: autoscalingSchema.nullish(),
      max_ongoing_requests: count.nullish(),
      graceful_shutdown_timeout_s: z.number().nullish(),
    })
    .default({}),
});
const applicationSchema = z.object({
  status: z.string(),
  message: z.string().nullish(),
  deployments: z.record(z.string(), deploymentSchema).default({}),
});
const detailsSchema = z.object({
  target_capacity: z.number().nullish(),
  applications: z.record(z.string(), applicationSchema).default({}),
});

/** Whoever answered is not Ray's dashboard, or does not let one through to it. */
export class NotJson extends Error {
  override readonly name = "NotJson";
}

/**
 * Reads the answer of GET /api/serve/applications/; `source` names where it came from in the error.
 *
 * @throws NotJson, or Error when it is JSON of another shape
 */
export function parseObservation(text: string, source: string): Observation {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new NotJson(`${source} did not answer with JSON but with: ${text.slice(0, 200)}`);
  }
  const parsed = detailsSchema.safeParse(json);
  if (!parsed.success) {
    throw new Error(`${source} did not answer as Ray Serve 2.60 does: ${z.prettifyError(parsed.error)}`);
  }
  return {
    targetCapacity: parsed.data.target_capacity ?? null,
    applications: mapValues(parsed.data.applications, (application) => ({
      status: application.status,
      message: application.message ?? "",
      deployments: mapValues(application.deployments, observeDeployment),
    })),
  };
}

/** All deployments of an observation, with the names of their application and their own. */
export function deploymentsOf(
  observation: Observation,
): { application: string; deployment: string; observed: DeploymentObservation }[] {
  return Object.entries(observation.applications).flatMap(([application, { deployments }]) =>
    Object.entries(deployments).map(([deployment, observed]) => ({ application, deployment, observed })),
  );
}

/** Whether Serve runs nothing, and never was given anything, on this cluster. */
export function isEmpty(observation: Observation): boolean {
  return Object.keys(observation.applications).length === 0;
}

/** Whether no replica runs though a deployment always has one; those with min_replicas 0 may wait for a request. */
export function servesNothing(observation: Observation): boolean {
  const built = Object.values(observation.applications).map(({ deployments }) => Object.values(deployments));
  if (built.flat().some(({ running }) => running > 0)) return false;
  return built.length === 0 || built.some((deployments) => deployments.length === 0 || deployments.some(alwaysRuns));
}

const alwaysRuns = ({ full }: DeploymentObservation) => full > 0;

/** The capacity in percent that a cluster takes up: nothing when it has no applications, 100 when none was set. */
export function capacityInUse(observation: Observation): number {
  return isEmpty(observation) ? 0 : (observation.targetCapacity ?? 100);
}

function observeDeployment(deployment: z.infer<typeof deploymentSchema>): DeploymentObservation {
  const byState: Record<string, number> = {};
  for (const { state } of deployment.replicas) byState[state] = (byState[state] ?? 0) + 1;
  const runningIds = deployment.replicas.filter(({ state }) => SERVING.has(state)).map((each) => each.replica_id);
  const { num_replicas, autoscaling_config, max_ongoing_requests, graceful_shutdown_timeout_s } =
    deployment.deployment_config;
  return {
    status: deployment.status,
    message: deployment.message ?? "",
    trigger: deployment.status_trigger,
    targetReplicas: deployment.target_num_replicas,
    running: runningIds.length,
    byState,
    full: autoscaling_config?.min_replicas ?? num_replicas ?? 1,
    ...(autoscaling_config ? autoscalingOf(autoscaling_config) : {}),
    maxOngoingRequests: max_ongoing_requests ?? 5,
    gracefulShutdownTimeout: graceful_shutdown_timeout_s ?? 20,
    replicaIds: deployment.replicas.map((each) => each.replica_id),
    nodeIds: [...new Set(deployment.replicas.flatMap((each) => each.node_id ?? []))],
    runningIds,
  };
}

function autoscalingOf(
  config: z.infer<typeof autoscalingSchema>,
): Required<Pick<DeploymentObservation, "autoscaling" | "autoscalingConfig">> {
  const { min_replicas, initial_replicas, max_replicas } = config;
  return {
    autoscaling: {
      min: min_replicas,
      ...(typeof initial_replicas === "number" ? { initial: initial_replicas } : {}),
      max: max_replicas,
    },
    autoscalingConfig: config as AutoscalingConfig,
  };
}

function mapValues<A, B>(record: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
