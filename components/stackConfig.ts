import { z } from "zod";
import { awsProblems, awsSettings } from "./aws/settings";
import { gcpProblems, gcpSettings } from "./gcp/settings";
import { kubernetesProblems, kubernetesSettings } from "./kubernetes/settings";
import { checked, InvalidInput, isMapping, type Problem, parseWith, type Report, under, worded } from "./problems";
import { rejectedVersion } from "./record";
import { checkWorkerNodes, parseServiceSpec, type ServiceSpec } from "./serviceSpec";

const NAMESPACE = "rayshift:";

/** Keys whose values are JSON. */
const mappings = ["service", "waypoint", "rejected", "kubernetes", "aws", "gcp"];

/** Values come as text, from `pulumi config` and from the command line. */
function fromText<Schema extends z.ZodType>(read: (text: string) => unknown, schema: Schema) {
  return z.preprocess((value) => (typeof value === "string" ? read(value.trim()) : value), schema);
}

function numberFrom(text: string): unknown {
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function booleanFrom(text: string): unknown {
  return text === "true" ? true : text === "false" ? false : text;
}

function jsonFrom(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not the text itself: it may hold secrets, and a problem shows its value.
    return null;
  }
}

function wholeNumber(min: number, max: number, remedy: string) {
  const schema = fromText(numberFrom, z.int().min(min).max(max));
  return worded(schema, `must be a whole number from ${min} to ${max}`, remedy);
}

function duration(unit: string, example: number) {
  const schema = fromText(numberFrom, z.number().positive());
  return worded(
    schema,
    `must be a number of ${unit} above 0`,
    `give for example ${example}, or leave it out for the default`,
  );
}

function trueOrFalse() {
  return worded(fromText(booleanFrom, z.boolean()), "must be true or false", "give true, or leave it out");
}

const rolloutSettings = {
  canaryPercent: wholeNumber(
    0,
    100,
    "give the percent of the traffic to hold the canary at (0: none, 100: complete), or leave it out to roll out by itself",
  ).optional(),
  maxSurgePercent: wholeNumber(
    1,
    100,
    "give how many percent the two clusters' capacity may exceed 100 by, for example 50, or leave it out for no limit",
  ).optional(),
  inPlace: trueOrFalse().optional(),
};

/** A surge in the config is a standing setting, which an in-place update has no use for; one that is asked for with it is a mistake. */
function reportInPlace(...keys: string[]) {
  return (value: Record<string, unknown>, report: Report): void => {
    if (value.inPlace !== true) return;
    for (const key of keys) {
      if (value[key] === undefined) continue;
      report(
        [key],
        "cannot be given for an in-place update: it changes the primary itself, there is no canary",
        "leave out one of the two",
      );
    }
  };
}

const percent = worded(
  z.int().min(0).max(100),
  "must be a whole number from 0 to 100",
  "let `rayshift` write the waypoint",
);
const versionName = z.string().min(1);

const waypoint = worded(
  checked(
    z.strictObject({
      primary: versionName,
      canary: versionName,
      primaryCapacity: percent,
      canaryCapacity: percent,
      canaryTraffic: percent,
      direction: z.enum(["forward", "back"]),
      startedAt: worded(
        z.iso.datetime({ offset: true }),
        "must be an ISO 8601 time",
        "write it like 2026-01-31T12:00:00Z",
      ),
      surge: worded(z.int().min(1).max(100), "must be a whole number from 1 to 100", "give for example 50").optional(),
      immediate: z.boolean().optional(),
    }),
    reportUnservedTraffic,
  ),
  "must be a waypoint as the driver writes it, a mapping",
  "take it out with `pulumi config rm rayshift:waypoint` and run `rayshift deploy`",
);

/** No side may get more of the traffic than it has capacity for. */
function reportUnservedTraffic(value: Record<string, unknown>, report: Report): void {
  const { primary, canary, primaryCapacity, canaryCapacity, canaryTraffic: traffic } = value;
  if (primary !== undefined && primary === canary) report(["canary"], "is the primary's version", "name two versions");
  if (typeof traffic !== "number" || value.immediate === true) return;
  const remedy = "give no side more traffic than capacity";
  if (typeof canaryCapacity === "number" && traffic > canaryCapacity) {
    report(["canaryTraffic"], `is more than the canary's capacity, which is ${canaryCapacity}%`, remedy);
  }
  if (typeof primaryCapacity === "number" && 100 - traffic > primaryCapacity) {
    report(["primaryCapacity"], `is less than the primary's traffic, which is ${100 - traffic}%`, remedy);
  }
}

/** Serve's proxy is the head's, and Ray is what the image or the machine's own has. */
const cloudWithoutEffect: ReadonlyArray<keyof ServiceSpec> = [
  "containerfile",
  "registry_login_secret",
  "ray_version",
  "tracing_config",
  "ray_gcs_external_storage_config",
  "proxy_location",
];

/** Keys of a service that say nothing to a target. What the local one runs is on this host already. */
const withoutEffect: Record<string, ReadonlyArray<keyof ServiceSpec>> = {
  local: [
    "image_uri",
    "containerfile",
    "registry_login_secret",
    "ray_version",
    "tags",
    "tracing_config",
    "ray_gcs_external_storage_config",
    "proxy_location",
  ],
  kubernetes: ["containerfile", "tags", "tracing_config"],
  aws: cloudWithoutEffect,
  gcp: cloudWithoutEffect,
};

function effectNotices(target: string, spec: ServiceSpec): string[] {
  const given = (withoutEffect[target] ?? []).filter((key) => spec[key] !== undefined);
  return given.length === 0
    ? []
    : [`${given.map((key) => `\`${key}\``).join(", ")}: without effect on the target ${target}`];
}

/** Targets with settings of their own, below the key of the target's name: what they need at least, and their port's key. */
const targetKeys = {
  kubernetes: { least: "{gateway: {name: ...}}", port: "gateway.port" },
  aws: { least: "{region, vpcId, subnetIds, ami, dashboardCidrs, loadBalancer}", port: "loadBalancer.port" },
  gcp: { least: "{project, zone, bootImage, dashboardCidrs, loadBalancer}", port: "loadBalancer.port" },
};

/** Keys that belong to one target only. */
function reportTarget(value: Record<string, unknown>, report: Report): void {
  const { target = "local", port } = value;
  for (const [key, { least, port: own }] of Object.entries(targetKeys)) {
    if (target === key) {
      if (value[key] === undefined) {
        const remedy = `add it with at least ${least}; docs/${key}.md has all its keys`;
        report([key], `is missing: the target ${key} needs it`, remedy);
      }
      if (port !== undefined) {
        report(["port"], "is that of the local load balancer", `give \`${own}\` in \`rayshift:${key}\``);
      }
    } else if (value[key] !== undefined) {
      const remedy = `set it with \`pulumi config set rayshift:target ${key}\`, or take the key out`;
      report([key], `is for the target ${key}, and the target is ${target}`, remedy);
    }
  }
}

const settings = checked(
  z.strictObject({
    target: z.enum(["local", "kubernetes", "aws", "gcp"]).default("local"),
    service: worded(
      z.custom<Record<string, unknown>>(isMapping),
      "must be a mapping in the format of an Anyscale service YAML",
      "run `rayshift deploy -f service.yaml`, or write it below rayshift:service in Pulumi.<stack>.yaml",
    ),
    ...rolloutSettings,
    waypoint: waypoint.optional(),
    rejected: worded(
      rejectedVersion,
      "must be a rejected version as the driver writes it, a mapping",
      "take it out with `pulumi config rm rayshift:rejected` and run `rayshift deploy`",
    ).optional(),
    workingDirDigest: worded(
      z.string().regex(/^[0-9a-f]{64}$/),
      "must be the sha256 (64 hex digits) of a working directory",
      "let `rayshift deploy` write it, or take it out to have the folder read again",
    ).optional(),
    port: wholeNumber(
      1,
      65535,
      "give a free port for the local load balancer, or leave it out to have one chosen",
    ).optional(),
    rolloutTimeoutMinutes: duration("minutes", 120).default(120),
    drainTimeoutSeconds: duration("seconds", 120).default(120),
    startupTimeoutSeconds: duration("seconds", 600).default(600),
    idleTimeoutSeconds: duration("seconds", 60).default(60),
    autoRollback: trueOrFalse().default(true),
    kubernetes: kubernetesSettings.optional(),
    aws: awsSettings.optional(),
    gcp: gcpSettings.optional(),
  }),
  (value, report) => {
    reportInPlace("canaryPercent", "waypoint")(value, report);
    reportTarget(value, report);
  },
);

type Settings = z.output<typeof settings>;

/** The exact waypoint of one update. Capacities and traffic are in percent, `startedAt` is that of the rollout. */
export type ConfiguredWaypoint = NonNullable<Settings["waypoint"]>;

/** What one update is to make of the stack. Percentages are whole numbers; timeouts are in the unit of their names. */
export interface StackConfig extends Omit<Settings, "service"> {
  service: ServiceSpec;
  /** The service as the config has it, without the defaults that {@link service} has. */
  written?: Record<string, unknown> | undefined;
  /** For the user: what is ignored, and what costs more than it looks. */
  notices: string[];
}

/**
 * Reads a stack's config as `pulumi config` keeps it: values as text, mappings as JSON.
 * @param raw - by the keys of the project's namespace, without it: `target`, `service`
 * @throws InvalidInput with all the problems of the config and of the service in it
 */
export function parseStackConfig(raw: Record<string, string | undefined>): StackConfig {
  const own: Record<string, unknown> = Object.fromEntries(
    Object.entries(raw)
      .filter(([, value]) => value !== undefined)
      .map(([key, value = ""]) => [key, mappings.includes(key) ? jsonFrom(value) : value]),
  );
  const result = parseWith(settings, own);
  const service = parseService(own.service);
  const surge = parseWith(rolloutSettings.maxSurgePercent, own.maxSurgePercent).value;
  const nodes = service.spec === undefined ? undefined : checkWorkerNodes(service.spec, surge);
  const ofTarget = service.spec && result.value ? targetProblems(service.spec, result.value) : [];
  const ofService = [...service.problems, ...(nodes?.problems ?? []), ...ofTarget];
  const problems = [...(result.problems ?? []), ...under("service", ofService)];
  if (result.value === undefined || service.spec === undefined || problems.length > 0) {
    throw new InvalidInput(under(NAMESPACE, problems), "stack config");
  }
  return {
    ...result.value,
    service: service.spec,
    written: result.value.service,
    notices: [...service.notices, ...(nodes?.notices ?? []), ...effectNotices(result.value.target, service.spec)],
  };
}

/** What of the service the target cannot do; paths are below the service. */
function targetProblems(spec: ServiceSpec, { kubernetes, aws, gcp }: Settings): Problem[] {
  if (kubernetes !== undefined) return kubernetesProblems(spec, kubernetes);
  if (aws !== undefined) return awsProblems(spec);
  return gcp === undefined ? [] : gcpProblems(spec, gcp);
}

/** A service that is not a mapping at all is reported with the other settings. */
function parseService(value: unknown): { spec?: ServiceSpec; notices: string[]; problems: Problem[] } {
  if (!isMapping(value)) return { notices: [], problems: [] };
  try {
    return { ...parseServiceSpec(value), problems: [] };
  } catch (error) {
    if (InvalidInput.isInstance(error)) return { notices: [], problems: error.problems };
    throw error;
  }
}

const rolloutFlags = checked(z.strictObject(rolloutSettings), reportInPlace("canaryPercent", "maxSurgePercent"));

/** How a rollout is to go: the settings that the config and the command line share. */
export type RolloutSettings = z.output<typeof rolloutFlags>;

/**
 * Reads the flags of the command line by the rules of the config. Problems name them as flags: `--max-surge-percent`.
 * @throws InvalidInput with all the problems
 */
export function parseRolloutFlags(flags: {
  canaryPercent?: string | undefined;
  maxSurgePercent?: string | undefined;
  inPlace?: boolean | undefined;
}): RolloutSettings {
  const { value, problems } = parseWith(rolloutFlags, flags);
  if (problems === undefined) return value;
  const named = problems.map((problem) => ({
    ...problem,
    path: `--${problem.path.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
  }));
  throw new InvalidInput(named, "command line");
}
