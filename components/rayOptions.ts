import { z } from "zod";
import { checked, foreignObject, isMapping, parseWith, type Report, refused, worded } from "./problems";
import { amount, atLeastOne, count, isLocalPath, items, notHere, reportDuplicates, text } from "./specParts";

/** The part of a service that is Ray Serve's own: applications, deployments and the options of the proxy. */

const anything = z.unknown().optional();

/** Keys that Ray knows and checks by itself. */
function checkedByRay<Key extends string>(...keys: Key[]): Record<Key, typeof anything> {
  return Object.fromEntries(keys.map((key) => [key, anything])) as Record<Key, typeof anything>;
}

const seconds = worded(z.number().min(0), "must be a number of seconds, 0 or more", "give for example 30");

const remotePlace = worded(
  z.string().refine((place) => !isLocalPath(place)),
  "must be a remote URI: Ray takes no local folder here",
  "put a local folder into the service's `working_dir`, which is packaged for all applications",
);

const runtimeEnv = checked(z.record(z.string(), z.unknown()), (value, report) => {
  const { problems = [] } = parseWith(
    z.looseObject({ working_dir: remotePlace.nullish(), py_modules: z.array(remotePlace).nullish() }),
    value,
  );
  for (const { path, rule, remedy } of problems) report([path], rule, remedy);
});

const autoscalingConfig = foreignObject({
  min_replicas: count.optional(),
  initial_replicas: count.nullish(),
  max_replicas: atLeastOne.optional(),
  target_ongoing_requests: amount.nullish(),
  upscale_delay_s: seconds.optional(),
  downscale_delay_s: seconds.optional(),
  downscale_to_zero_delay_s: seconds.nullish(),
  ...checkedByRay(
    "metrics_interval_s",
    "look_back_period_s",
    "smoothing_factor",
    "upscale_smoothing_factor",
    "downscale_smoothing_factor",
    "upscaling_factor",
    "downscaling_factor",
    "aggregation_function",
    "policy",
  ),
});

const rayActorOptions = foreignObject({
  runtime_env: runtimeEnv.optional(),
  num_cpus: amount.nullish(),
  num_gpus: amount.nullish(),
  memory: amount.nullish(),
  resources: z.record(z.string(), amount).optional(),
  accelerator_type: text.nullish(),
  ...checkedByRay("label_selector", "fallback_strategy"),
});

export const loggingConfig = foreignObject({
  ...checkedByRay("encoding", "log_level", "logs_dir", "enable_access_log", "additional_log_standard_attrs"),
});

const deployment = checked(
  foreignObject({
    name: text,
    num_replicas: worded(
      z.union([z.int().min(1), z.literal("auto")]),
      'must be a whole number, 1 or more, or "auto"',
      "to run none while there are no requests, use `autoscaling_config` with min_replicas: 0",
    ).nullish(),
    autoscaling_config: autoscalingConfig.nullish(),
    max_ongoing_requests: atLeastOne.optional(),
    ...checkedByRay("max_queued_requests", "backpressure_config", "user_config"),
    graceful_shutdown_wait_loop_s: seconds.optional(),
    graceful_shutdown_timeout_s: seconds.optional(),
    health_check_period_s: seconds.optional(),
    health_check_timeout_s: seconds.optional(),
    ray_actor_options: rayActorOptions.optional(),
    ...checkedByRay(
      "placement_group_bundles",
      "placement_group_strategy",
      "placement_group_bundle_label_selector",
      "max_replicas_per_node",
    ),
    logging_config: loggingConfig.optional(),
    ...checkedByRay(
      "request_router_config",
      "gang_scheduling_config",
      "deployment_actors",
      "rolling_update_percentage",
      "max_surge_percent",
    ),
  }),
  reportReplicas,
);

/** The bounds of a deployment's replicas must fit each other, with Ray's defaults for those that are not given. */
function reportReplicas({ num_replicas, autoscaling_config }: Record<string, unknown>, report: Report): void {
  if (!isMapping(autoscaling_config)) return;
  if (typeof num_replicas === "number") {
    report(["num_replicas"], "cannot be a number beside `autoscaling_config`", "leave out one of the two");
  }
  const {
    min_replicas: min = 1,
    initial_replicas: initial,
    max_replicas: max = num_replicas === "auto" ? 100 : 1,
  } = autoscaling_config;
  if (typeof min !== "number" || typeof max !== "number") return;
  if (min > max) {
    report(
      ["autoscaling_config", "min_replicas"],
      `is more than max_replicas, which is ${max}`,
      "raise `max_replicas` or lower `min_replicas`",
    );
  } else if (typeof initial === "number" && (initial < min || initial > max)) {
    report(
      ["autoscaling_config", "initial_replicas"],
      `is outside of min_replicas..max_replicas, which is ${min}..${max}`,
      "give a number within them",
    );
  }
}

const balancerDecides = refused(
  notHere,
  "take it out: rayshift chooses it, the service's URL is that of its load balancer",
);

export const application = checked(
  z.strictObject({
    name: text.default("default"),
    route_prefix: worded(
      z.string().regex(/^\/$|^\/[^{}]*[^/{}]$/),
      'must start with "/", not end with "/", and have no "{" or "}"',
      'give for example "/" or "/chat"',
    )
      .nullable()
      .default("/"),
    import_path: worded(
      z
        .string()
        .regex(
          /^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*:[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*$/u,
        ),
      'must be of the form "module:attribute"',
      'write for example "app:app" for the variable `app` in app.py',
    ),
    runtime_env: runtimeEnv.optional(),
    args: z.record(z.string(), z.unknown()).optional(),
    deployments: z.array(deployment).default([]),
    ...checkedByRay("autoscaling_policy"),
    logging_config: loggingConfig.optional(),
    external_scaler_enabled: z.boolean().optional(),
    host: balancerDecides,
    port: balancerDecides,
  }),
  ({ deployments }, report) =>
    reportDuplicates(
      "deployments",
      items(deployments).map(({ name }) => name),
      "name",
      report,
    ),
);

export const httpOptions = foreignObject({
  host: balancerDecides,
  port: balancerDecides,
  root_path: balancerDecides,
  request_timeout_s: seconds.nullish(),
  keep_alive_timeout_s: seconds.optional(),
  ...checkedByRay("ssl_keyfile", "ssl_certfile", "ssl_keyfile_password", "ssl_ca_certs"),
});

export const grpcOptions = foreignObject({
  port: balancerDecides,
  grpc_servicer_functions: z.array(text).optional(),
  request_timeout_s: seconds.nullish(),
  ...checkedByRay("enable_reflection"),
});
