import { z } from "zod";
import { resourcesOf } from "./instanceTypes";
import {
  checked,
  InvalidInput,
  isMapping,
  type Problem,
  parseWith,
  passedThrough,
  type Report,
  refused,
  under,
  worded,
} from "./problems";
import { application, grpcOptions, httpOptions, loggingConfig } from "./rayOptions";
import { amount, atLeastOne, count, items, notHere, reportDuplicates, text } from "./specParts";

// Together, with a hyphen between and a two-letter suffix, at most 47 letters: a Kubernetes name that KubeRay still
// appends to, and with a hashed version at most 35, which Ray's GCP autoscaler takes as the name of a cluster.
const SERVICE_NAME_LENGTH = 24;
const VERSION_NAME_LENGTH = 20;

const inResources = refused(
  notHere,
  "write the node's `resources` like {CPU: 8, GPU: 1}, with an `instance_type` beside it on a cloud",
);

const nodeShape = {
  instance_type: text.optional(),
  resources: checked(z.record(z.string(), amount), (value, report) => {
    for (const key of Object.keys(value).filter((key) => /^[cg]pu$/i.test(key) && key !== key.toUpperCase())) {
      report([key], "is not Ray's name of this resource", `write \`${key.toUpperCase()}\``);
    }
  }).optional(),
  required_resources: inResources,
  required_labels: inResources,
  physical_resources: inResources,
};

const describedNode = z.object({
  instance_type: z.string().optional(),
  resources: z.record(z.string(), z.number()).optional(),
});

function reportResources(value: Record<string, unknown>, report: Report): void {
  const node = describedNode.safeParse(value);
  if (!node.success) return;
  try {
    resourcesOf(node.data);
  } catch (error) {
    if (!InvalidInput.isInstance(error)) throw error;
    for (const { path, rule, remedy } of error.problems) report(path === "" ? [] : [path], rule, remedy);
  }
}

const workerGroup = checked(
  z.strictObject({
    ...nodeShape,
    name: worded(
      z.string().regex(/^[a-z0-9]([-a-z0-9._]{0,61}[a-z0-9])?$/i),
      "must be of letters, digits, hyphens, dots and underscores, at most 63, with a letter or digit at both ends",
      "give for example gpu-workers",
    ).optional(),
    min_nodes: count.default(0),
    max_nodes: atLeastOne.default(10),
    market_type: z.enum(["ON_DEMAND", "SPOT", "PREFER_SPOT"]).default("ON_DEMAND"),
  }),
  (value, report) => {
    reportResources(value, report);
    const { min_nodes: min, max_nodes: max } = value;
    if (typeof min === "number" && typeof max === "number" && min > max) {
      report(["min_nodes"], `is more than max_nodes, which is ${max}`, "raise `max_nodes` or lower `min_nodes`");
    }
  },
).transform((group) => ({ ...group, name: nameOfGroup(group) }));

function nameOfGroup(group: { name?: unknown; instance_type?: unknown }): string {
  return String(group.name ?? group.instance_type ?? "workers");
}

const inNodes = refused(
  "is not kept by rayshift",
  "bound the number of nodes by `min_nodes` and `max_nodes` of each worker group",
);

const computeConfig = worded(
  checked(
    z.strictObject({
      head_node: checked(z.strictObject(nodeShape), reportResources).optional(),
      worker_nodes: z.array(workerGroup).default([]),
      min_resources: inNodes,
      max_resources: inNodes,
    }),
    ({ worker_nodes }, report) =>
      reportDuplicates("worker_nodes", items(worker_nodes).map(nameOfGroup), "name", report),
  ),
  "must be an inline compute config (a mapping with head_node and worker_nodes)",
  "write head_node and worker_nodes out in place of a name: there is no registry of named compute configs here",
);

const serviceSpec = checked(
  z.strictObject({
    name: worded(
      z
        .string()
        .regex(/^[a-z]([-a-z0-9]*[a-z0-9])?$/)
        .max(SERVICE_NAME_LENGTH),
      `must be 1 to ${SERVICE_NAME_LENGTH} lower-case letters, digits and hyphens, with a letter first and no hyphen last`,
      "give for example sample-service (it becomes a part of resource names)",
    ),
    version_name: worded(
      z
        .string()
        .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
        .max(VERSION_NAME_LENGTH)
        .refine((name) => !["primary", "canary"].includes(name)),
      `must be 1 to ${VERSION_NAME_LENGTH} lower-case letters, digits and hyphens as text, with no hyphen at either end, and not primary or canary`,
      'give for example "v2", or leave it out: the version is then named by a hash',
    ).optional(),
    applications: worded(
      z.array(application).min(1),
      "must be a list of at least one application",
      'give for example [{import_path: "app:app"}]',
    ),
    query_auth_token_enabled: z.boolean().default(true),
    http_options: httpOptions.optional(),
    grpc_options: grpcOptions.optional(),
    logging_config: loggingConfig.optional(),
    proxy_location: worded(
      z.enum(["EveryNode", "HeadOnly"]),
      "must be EveryNode or HeadOnly",
      "leave it out for EveryNode: without a proxy the load balancer reaches nothing",
    ).optional(),
    tracing_config: z
      .strictObject({
        enabled: z.boolean().default(true),
        exporter_import_path: text.optional(),
        sampling_ratio: worded(
          z.number().min(0).max(1),
          "must be a number from 0 to 1",
          "give for example 0.1",
        ).optional(),
      })
      .optional(),
    tags: z.record(z.string(), z.string()).optional(),
    image_uri: text.optional(),
    containerfile: text.optional(),
    registry_login_secret: text.optional(),
    ray_version: worded(
      z.string().regex(/^\d+\.\d+\.\d+$/),
      "must be of the form X.Y.Z as text",
      'give for example "2.60.0"',
    ).optional(),
    compute_config: computeConfig.prefault({}),
    working_dir: text.optional(),
    excludes: z.array(text).optional(),
    requirements: worded(
      z.union([text, z.array(text)]),
      "must be a list of pip requirements, or the path of a requirements file",
      'give for example ["numpy==2.1.0"]',
    ).optional(),
    env_vars: z.record(z.string(), z.string()).optional(),
    py_modules: z.array(text).optional(),
    py_executable: refused(notHere, "set it in the `runtime_env` of the application"),
    connections: refused(
      notHere,
      "there are no Anyscale connections here: give credentials in `env_vars` as Pulumi secrets",
    ),
    ray_gcs_external_storage_config: z
      .strictObject({ enabled: z.boolean().default(true), address: text.optional(), certificate_path: text.optional() })
      .optional(),
  }),
  reportService,
);

function reportService(value: Record<string, unknown>, report: Report): void {
  const applications = items(value.applications);
  const names = applications.map(({ name = "default" }) => name);
  const prefixes = applications.map(({ route_prefix = "/" }) => route_prefix);
  reportDuplicates("applications", names, "name", report);
  reportDuplicates("applications", prefixes, "route_prefix", report);
  if (value.image_uri !== undefined && value.containerfile !== undefined) {
    report(["containerfile"], "cannot be given beside `image_uri`", "leave out one of the two");
  }
  if (value.registry_login_secret !== undefined && value.image_uri === undefined) {
    report(["registry_login_secret"], "has no image to fetch", "give its `image_uri`, or leave it out");
  }
}

/** One version of a service as wanted, in the words of an Anyscale service YAML, with the defaults filled in. */
export type ServiceSpec = z.output<typeof serviceSpec>;
export type WorkerGroup = ServiceSpec["compute_config"]["worker_nodes"][number];

/** Keys of Anyscale's that have no meaning here: accepted, so that its files deploy unchanged, and reported. */
const ignoredKeys = {
  service: ["cloud", "project", "priority"],
  computeConfig: [
    "cloud",
    "cloud_resource",
    "zones",
    "enable_cross_zone_scaling",
    "advanced_instance_config",
    "auto_select_worker_config",
    "flags",
  ],
  node: ["cloud_deployment", "labels", "advanced_instance_config", "flags"],
};

/** A mapping without the keys that have no value (YAML's null) and without the ignored ones. */
function tidied(value: unknown, ignored: string[], path: string, notices: string[]): unknown {
  if (!isMapping(value)) return value;
  const given = Object.entries(value).filter(([, item]) => item !== null && item !== undefined);
  for (const [key] of given.filter(([key]) => ignored.includes(key))) {
    notices.push(`${path}${key} is ignored: it has no meaning outside of Anyscale`);
  }
  return Object.fromEntries(given.filter(([key]) => !ignored.includes(key)));
}

function tidiedService(value: unknown, notices: string[]): unknown {
  const service = tidied(value, ignoredKeys.service, "", notices);
  if (!isMapping(service)) return service;
  const compute = tidied(service.compute_config, ignoredKeys.computeConfig, "compute_config.", notices);
  if (!isMapping(compute)) return service;
  const { head_node, worker_nodes } = compute;
  const nodes = {
    ...(head_node === undefined
      ? {}
      : { head_node: tidied(head_node, ignoredKeys.node, "compute_config.head_node.", notices) }),
    ...(Array.isArray(worker_nodes)
      ? {
          worker_nodes: worker_nodes.map((group, index) =>
            tidied(group, ignoredKeys.node, `compute_config.worker_nodes[${index}].`, notices),
          ),
        }
      : {}),
  };
  return { ...service, compute_config: { ...compute, ...nodes } };
}

/**
 * Checks a service, as read from YAML or JSON, and fills in its defaults. Notices are for the user: keys that are
 * ignored, and keys that only Ray may know.
 * @throws InvalidInput with all the problems
 */
export function parseServiceSpec(value: unknown): { spec: ServiceSpec; notices: string[] } {
  const notices: string[] = [];
  const { value: spec, problems } = parseWith(serviceSpec, tidiedService(value, notices));
  if (problems !== undefined) throw new InvalidInput(problems, "service");
  for (const path of passedThrough(serviceSpec, spec))
    notices.push(`${path} is not known to rayshift: it is passed to Ray as it is`);
  return { spec, notices };
}

/**
 * What `min_nodes` above 0 means for a rollout: a cost without a surge limit, a problem with one, because these nodes
 * stay however small the cluster's capacity is.
 * @param surge - percent
 */
export function checkWorkerNodes(spec: ServiceSpec, surge?: number): { problems: Problem[]; notices: string[] } {
  const groups = spec.compute_config.worker_nodes;
  const kept = groups.flatMap(({ min_nodes, name }, index) =>
    min_nodes > 0 ? [{ nodes: min_nodes, name, index }] : [],
  );
  if (surge === undefined) {
    const notices = kept.map(
      ({ nodes, name, index }) =>
        `compute_config.worker_nodes[${index}].min_nodes is ${nodes}: during a rollout both clusters keep ${nodeCount(nodes)} of ` +
        `${name}, and the shrinking one cannot scale to zero. That is up to ${nodeCount(nodes)} more than with min_nodes: 0`,
    );
    return { problems: [], notices };
  }
  const problems = kept.map(({ nodes, index }) => ({
    path: `worker_nodes[${index}].min_nodes`,
    value: nodes,
    rule: `must be 0 with a max surge of ${surge}%: both clusters would keep ${nodeCount(nodes)} through the whole rollout`,
    remedy: "set it to 0 (nodes start as replicas need them), or roll out without a max surge",
  }));
  return { problems: under("compute_config", problems), notices: [] };
}

function nodeCount(nodes: number): string {
  return nodes === 1 ? "1 node" : `${nodes} nodes`;
}
