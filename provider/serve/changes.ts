import { isDeepStrictEqual } from "node:util";
import { type ApplicationConfig, applicationName, type DeploymentConfig, type ServeConfig } from "./config";

/** What a change of the Serve config does to the replicas that run. */
export interface Change {
  /** "*": options of the whole config. */
  application: string;
  /** "*": every deployment of the application, those included that only the code names. */
  deployment: string;
  /** Lightweight: replicas go on. Heavyweight: they are replaced by new ones, a fifth at a time. */
  kind: "none" | "lightweight" | "heavyweight" | "added" | "removed";
  reason: string;
}

/** Ray 2.60: options of a deployment that its replicas take over while they run. */
const LIGHTWEIGHT = new Set([
  "num_replicas",
  "autoscaling_config",
  "user_config",
  "max_ongoing_requests",
  "max_queued_requests",
  "backpressure_config",
  "graceful_shutdown_timeout_s",
  "graceful_shutdown_wait_loop_s",
  "health_check_period_s",
  "health_check_timeout_s",
  "logging_config",
  "max_constructor_retry_count",
  "max_surge_percent",
  "rolling_update_percentage",
]);

/** Ray 2.60: what the code version of an application is a hash of. One change and every replica of it is replaced. */
const REBUILDING: Record<string, (application: ApplicationConfig) => unknown> = {
  import_path: (application) => application.import_path,
  runtime_env: (application) => application.runtime_env ?? {},
  args: (application) => application.args ?? {},
  autoscaling_policy: (application) => application.autoscaling_policy ?? null,
  // One entry for each deployment that scales by itself, so it also changes with how many do.
  autoscaling_config: (application) => deploymentsOf(application).filter(scales).map(policyOf),
  request_router_config: (application) => deploymentsOf(application).flatMap(objectAt("request_router_config")),
  deployment_actors: (application) => deploymentsOf(application).flatMap(objectAt("deployment_actors")),
};

/** Options of an application that are compared elsewhere. */
const COMPARED_APART = new Set(["name", "deployments", ...Object.keys(REBUILDING)]);

/** Options of the whole config that Ray reads when Serve starts and at no other time. */
const READ_AT_START = ["proxy_location", "http_options", "grpc_options", "controller_options"];

/** How Ray 2.60 takes `after` over on a cluster that runs `before`, application by application. */
export function classify(before: ServeConfig, after: ServeConfig): Change[] {
  const was = byName(before);
  const is = byName(after);
  const removed = [...was.keys()].filter((name) => !is.has(name));
  return [
    ...ofWholeConfig(before, after),
    ...[...is].flatMap(([name, application]) => ofApplication(name, was.get(name), application)),
    ...removed.map((name) => ofEvery(name, "removed", "the application is no longer in the config")),
  ];
}

/** The application options whose change makes Ray build the application anew; empty when it keeps its replicas. */
export function rebuildingOptions(before: ApplicationConfig, after: ApplicationConfig): string[] {
  return Object.entries(REBUILDING)
    .filter(([, part]) => !same(part(before), part(after)))
    .map(([option]) => option);
}

function ofWholeConfig(before: ServeConfig, after: ServeConfig): Change[] {
  const { applications: _was, ...optionsBefore } = before;
  const { applications: _is, ...optionsAfter } = after;
  const changed = changedKeys(optionsBefore, optionsAfter);
  const fixed = changed.filter((key) => READ_AT_START.includes(key));
  const live = changed.filter((key) => !READ_AT_START.includes(key));
  return [
    ...fixed.map((key): Change => {
      const reason = `${key}: Serve reads it when it starts; a cluster that runs keeps the old value`;
      return { application: "*", deployment: "*", kind: "none", reason };
    }),
    ...live.map((key): Change => ({ application: "*", deployment: "*", kind: "lightweight", reason: changes(key) })),
  ];
}

function ofApplication(name: string, before: ApplicationConfig | undefined, after: ApplicationConfig): Change[] {
  if (before === undefined) return [ofEvery(name, "added", "the application is new in the config")];
  const rebuilding = rebuildingOptions(before, after);
  if (rebuilding.length > 0) {
    return [ofEvery(name, "heavyweight", `${rebuilding.map(changes).join(", ")}: Ray builds the application anew`)];
  }
  const own = changedKeys(before, after).filter((key) => !COMPARED_APART.has(key));
  const was = new Map(deploymentsOf(before).map((entry) => [entry.name, entry]));
  const is = new Map(deploymentsOf(after).map((entry) => [entry.name, entry]));
  const names = [...new Set([...is.keys(), ...was.keys()])];
  return [
    ...own.map((key) => ofEvery(name, "lightweight", changes(key))),
    ...names.map((deployment) => ({
      application: name,
      deployment,
      ...ofDeployment(was.get(deployment) ?? { name: deployment }, is.get(deployment) ?? { name: deployment }),
    })),
  ];
}

function ofDeployment(before: DeploymentConfig, after: DeploymentConfig): Pick<Change, "kind" | "reason"> {
  const changed = changedKeys(before, after);
  // An option that Ray 2.60 does not have is taken as heavyweight: better to announce a restart that does not come.
  const heavy = changed.filter((key) => !LIGHTWEIGHT.has(key));
  if (heavy.length > 0) return { kind: "heavyweight", reason: heavy.map(changes).join(", ") };
  if (changed.length > 0) return { kind: "lightweight", reason: changed.map(changes).join(", ") };
  return { kind: "none", reason: "nothing changes" };
}

function ofEvery(application: string, kind: Change["kind"], reason: string): Change {
  return { application, deployment: "*", kind, reason };
}

const changes = (option: string) => `${option} changes`;

const deploymentsOf = (application: ApplicationConfig) => application.deployments ?? [];

const byName = (config: ServeConfig) => new Map(config.applications.map((each) => [applicationName(each), each]));

const scales = (entry: DeploymentConfig) => entry.num_replicas === "auto" || Boolean(entry.autoscaling_config);

const policyOf = (entry: DeploymentConfig) => entry.autoscaling_config?.policy ?? null;

const objectAt = (key: string) => (entry: DeploymentConfig) =>
  typeof entry[key] === "object" && entry[key] !== null ? [entry[key]] : [];

function changedKeys(before: object, after: object): string[] {
  const was = before as Record<string, unknown>;
  const is = after as Record<string, unknown>;
  return [...new Set([...Object.keys(is), ...Object.keys(was)])].filter((key) => !same(was[key], is[key])).sort();
}

/** Equal as JSON: whatever the order of keys, and a key without a value is no key. */
function same(a: unknown, b: unknown): boolean {
  const plain = (value: unknown) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
  return isDeepStrictEqual(plain(a), plain(b));
}
