/** The part of Ray's ServeDeploySchema (Ray 2.60) that the project reads or writes; other keys pass through untouched. */

/** A deployment's `autoscaling_config`. Ray's defaults: min_replicas 1, max_replicas 1, no initial_replicas. */
export interface AutoscalingConfig {
  min_replicas?: number;
  initial_replicas?: number | null;
  max_replicas?: number;
  policy?: unknown;
  [option: string]: unknown;
}

/** One entry of an application's `deployments`: what is set here overrides what the code declares. */
export interface DeploymentConfig {
  name: string;
  num_replicas?: number | "auto" | null;
  autoscaling_config?: AutoscalingConfig | null;
  [option: string]: unknown;
}

/** One application. The name is "default" when it is absent. */
export interface ApplicationConfig {
  name?: string;
  import_path: string;
  route_prefix?: string | null;
  runtime_env?: Record<string, unknown>;
  args?: Record<string, unknown>;
  autoscaling_policy?: unknown;
  deployments?: DeploymentConfig[];
  [option: string]: unknown;
}

/** A Serve config as a version declares it: counts are those at 100 %, and there is no target_capacity. */
export interface ServeConfig {
  proxy_location?: string;
  http_options?: { host?: string; port?: number; [option: string]: unknown };
  grpc_options?: { port?: number; [option: string]: unknown };
  logging_config?: Record<string, unknown>;
  applications: ApplicationConfig[];
  [option: string]: unknown;
}

/** What is PUT to Ray: a ServeConfig with the counts to send and the capacity (null: 100 % and no bounds). */
export interface ServeDeployment extends ServeConfig {
  target_capacity: number | null;
}

/** The name Ray gives an application. */
export function applicationName(application: ApplicationConfig): string {
  return application.name ?? "default";
}
