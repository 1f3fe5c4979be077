import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { applicationName, type ServeDeployment } from "../serve/config";
import {
  DashboardUnreachable,
  HeadMissing,
  NoWayToDashboard,
  type RayServiceAddress,
  ServeRejected,
} from "../serve/dashboard";
import {
  type Answer,
  ApiServerRefused,
  ApiServerUnreachable,
  applyObject,
  ask,
  getObject,
  isStatus,
  type KubernetesObject,
  listObjects,
  messageOf,
} from "./api";
import { podsOf, troubleOf } from "./pods";

/** Who owns `spec.serveConfigV2`, so that whatever else makes the RayService does not touch it. */
export const serveConfigManager = "rayshift-serve";

/** The part of a RayService that is read. */
export interface RayService extends KubernetesObject {
  spec: { serveConfigV2?: string };
}

export interface RayCluster extends KubernetesObject {
  spec: { authOptions?: { mode?: string } };
  status?: { head?: { serviceName?: string } };
}

interface Secret extends KubernetesObject {
  data?: Record<string, string>;
}

/** A cluster's head: the service of its dashboard, and Ray's token where it asks for one. */
interface Head {
  service: string;
  token: string | undefined;
}

const APPLICATIONS = "/api/serve/applications/";
const POLL_MS = 250;
const EVENTS_MS = 3000;
/** KubeRay sends a config on within seconds; the first one it keeps until the head is up. */
const TAKEN_OVER_MS = 180_000;
const READ_MS = 10_000;
const VERSION_MS = 3000;
/** Gateway timeout: for a head that is silent behind an API server that is not. */
const SILENT = 504;

const heads = new Map<string, Head>();

/**
 * A GET of Ray's dashboard through the API server's service proxy.
 *
 * @throws DashboardUnreachable when the head does not answer, `refused` when there is no such RayService any more
 */
export async function getFromDashboard(
  address: RayServiceAddress,
  path: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<string> {
  const key = JSON.stringify(address);
  const known = heads.get(key);
  const head = known ?? (await findHead(address, signal));
  heads.set(key, head);
  const answer = await askHead(address, head, path, timeoutMs, signal);
  if (answer.status < 300) return answer.text;
  heads.delete(key);
  // A cluster that was made anew has another service and another token.
  if (known !== undefined && answer.status !== SILENT) return getFromDashboard(address, path, timeoutMs, signal);
  throw await failureOf(address, head, answer, signal);
}

/**
 * Writes the config into the RayService and waits until KubeRay has sent it to Ray, which it does once for each text.
 * The time at which Ray took over each application tells: the config alone may be the one from before.
 */
export async function sendConfig(
  address: RayServiceAddress,
  config: ServeDeployment,
  signal?: AbortSignal,
): Promise<void> {
  const service = await requireRayService(address, signal);
  const before = await takenOver(address, signal).catch(unlessUnreachable);
  const sentAt = new Date();
  await write(address, service, config, sentAt, signal);
  const names = config.applications.map(applicationName);
  const isNew = ({ times, capacity }: TakenOver) =>
    capacity === config.target_capacity && names.every((name) => (times[name] ?? 0) > (before?.times[name] ?? 0));
  let refusal: string | undefined;
  for (const end = Date.now() + TAKEN_OVER_MS; Date.now() < end; await sleep(POLL_MS, undefined, { signal })) {
    const now = await takenOver(address, signal).catch(unlessUnreachable);
    if (now !== undefined && isNew(now)) return;
    if (Date.now() - sentAt.getTime() < EVENTS_MS) continue;
    refusal = await refusalSince(address, sentAt, signal);
    if (refusal !== undefined && /\b400\b|validation error|BadRequest/i.test(refusal)) {
      throw new ServeRejected(`Ray Serve of ${nameOf(address)} rejected the config: ${refusal}`);
    }
  }
  throw new Error(
    `KubeRay did not send the config of ${nameOf(address)} to Ray within ${TAKEN_OVER_MS / 1000} s` +
      `${refusal === undefined ? ". Does its operator run?" : `: ${refusal}`} See: kubectl -n ${address.namespace} describe ` +
      `rayservice ${address.rayService}`,
  );
}

/** Gives the field up; the applications end with the cluster. */
export async function removeConfig(address: RayServiceAddress, signal?: AbortSignal): Promise<void> {
  const service = await getRayService(address, signal);
  if (service === undefined) return;
  await applyObject(address, pathOf(address), objectOf(address, service, {}), {
    manager: serveConfigManager,
    force: true,
    signal,
  });
}

/** The RayService; undefined where there is none. */
export function getRayService(address: RayServiceAddress, signal?: AbortSignal): Promise<RayService | undefined> {
  return getObject<RayService>(address, pathOf(address), signal);
}

/** Label selector of everything that KubeRay made for a RayService. */
function originatedFrom({ rayService }: Pick<RayServiceAddress, "rayService">): string {
  return encodeURIComponent(`ray.io/originated-from-crd=RayService,ray.io/originated-from-cr-name=${rayService}`);
}

/** The clusters that KubeRay made of a RayService and that are not gone. */
export function listRayClusters(address: RayServiceAddress, signal?: AbortSignal): Promise<RayCluster[]> {
  const path = `/apis/ray.io/v1/namespaces/${address.namespace}/rayclusters?labelSelector=${originatedFrom(address)}`;
  return listObjects<RayCluster>(address, path, signal);
}

async function requireRayService(address: RayServiceAddress, signal?: AbortSignal): Promise<RayService> {
  const service = await getRayService(address, signal);
  if (service === undefined) throw gone(address);
  return service;
}

async function write(
  address: RayServiceAddress,
  service: RayService,
  config: ServeDeployment,
  at: Date,
  signal?: AbortSignal,
): Promise<void> {
  // The same text once more would not be sent to Ray.
  const text = `# Sent by rayshift at ${at.toISOString()}.\n${stringify(config)}`;
  await applyObject(address, pathOf(address), objectOf(address, service, { serveConfigV2: text }), {
    manager: serveConfigManager,
    force: true,
    signal,
  });
}

/** With its uid: applying to a name that is free would make an object. */
function objectOf({ rayService: name, namespace }: RayServiceAddress, { metadata }: RayService, spec: object) {
  const { uid = "" } = metadata;
  return { apiVersion: "ray.io/v1", kind: "RayService", metadata: { name, namespace, uid }, spec };
}

interface TakenOver {
  /** Seconds since 1970, by application. */
  times: Record<string, number>;
  capacity: number | null;
}

async function takenOver(address: RayServiceAddress, signal?: AbortSignal): Promise<TakenOver> {
  const answer = JSON.parse(await getFromDashboard(address, APPLICATIONS, READ_MS, signal)) as {
    applications?: Record<string, { last_deployed_time_s?: number }>;
    target_capacity?: number | null;
  };
  const times = Object.entries(answer.applications ?? {}).map(([name, each]) => [name, each.last_deployed_time_s ?? 0]);
  return { times: Object.fromEntries(times), capacity: answer.target_capacity ?? null };
}

function unlessUnreachable(error: unknown): undefined {
  if (error instanceof DashboardUnreachable && !error.refused) return undefined;
  throw error;
}

async function refusalSince(
  address: RayServiceAddress,
  since: Date,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const { namespace, rayService } = address;
  const selector = encodeURIComponent(`involvedObject.kind=RayService,involvedObject.name=${rayService},type=Warning`);
  const path = `/api/v1/namespaces/${namespace}/events?fieldSelector=${selector}`;
  const events = await listObjects<Event>(address, path, signal);
  const recent = events.filter(({ lastTimestamp, eventTime }) => {
    // Events have whole seconds.
    return Date.parse(lastTimestamp ?? eventTime ?? "") >= since.getTime() - 1000;
  });
  return recent.at(-1)?.message;
}

interface Event extends KubernetesObject {
  message?: string;
  lastTimestamp?: string | null;
  eventTime?: string | null;
}

async function findHead(address: RayServiceAddress, signal?: AbortSignal): Promise<Head> {
  const { namespace } = address;
  const clusters = await reachable(address, () => listRayClusters(address, signal));
  const [newest] = clusters
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .sort((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""))
    .slice(-1);
  if (newest === undefined) {
    if ((await getRayService(address, signal)) === undefined) throw gone(address);
    throw new DashboardUnreachable(`KubeRay has not made a RayCluster of ${nameOf(address)} yet`, false);
  }
  const { name } = newest.metadata;
  const service = newest.status?.head?.serviceName ?? `${name}-head-svc`;
  if (newest.spec.authOptions?.mode !== "token") return { service, token: undefined };
  // KubeRay cuts long names for the Secret as it does for pods.
  const secret = await getObject<Secret>(
    address,
    `/api/v1/namespaces/${namespace}/secrets/${name.length > 50 ? name.slice(-50) : name}`,
    signal,
  );
  const token = secret?.data?.auth_token;
  return { service, token: token === undefined ? undefined : Buffer.from(token, "base64").toString() };
}

async function askHead(
  address: RayServiceAddress,
  { service, token }: Head,
  path: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Answer> {
  const proxy = `/api/v1/namespaces/${address.namespace}/services/${service}:dashboard/proxy`;
  // The API server takes the Authorization header for itself.
  const headers = token === undefined ? {} : { "x-ray-authorization": `Bearer ${token}` };
  return reachable(address, async () => {
    try {
      return await ask(address, proxy + path, { headers, timeoutMs, signal });
    } catch (error) {
      // What is forwarded to a pod that has just gone nobody answers, and the API server waits for that.
      if (!(error instanceof ApiServerUnreachable) || !(await answersItself(address, signal))) throw error;
      return { status: SILENT, headers: {}, text: `no answer within ${timeoutMs / 1000} s` };
    }
  });
}

async function answersItself(address: RayServiceAddress, signal?: AbortSignal): Promise<boolean> {
  try {
    return (await ask(address, "/version", { timeoutMs: VERSION_MS, signal })).status < 500;
  } catch {
    signal?.throwIfAborted();
    return false;
  }
}

/** An API server that is silent says nothing of the cluster: it may still run. */
async function reachable<T>(address: RayServiceAddress, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const noWay = error instanceof ApiServerUnreachable || (error instanceof ApiServerRefused && error.status === 401);
    if (!noWay) throw error;
    throw new NoWayToDashboard(`Ray's dashboard of ${nameOf(address)} cannot be reached: ${error.message}`);
  }
}

async function failureOf(
  address: RayServiceAddress,
  { service, token }: Head,
  { status, text }: Answer,
  signal?: AbortSignal,
): Promise<Error> {
  const said = messageOf(text);
  if (status === 403 && isStatus(text)) {
    return new ServeRejected(`the API server does not let this account read from ${service}: ${said}`);
  }
  if (status === 401 || (status === 403 && !isStatus(text))) {
    const which = token === undefined ? "no token, its Secret is not there" : "the token of its Secret";
    return new ServeRejected(`Ray's dashboard of ${nameOf(address)} refused ${which} (${status})`);
  }
  if ((await getRayService(address, signal)) === undefined) return gone(address);
  const heads = (await podsOf(address, signal)).filter(
    ({ metadata }) => metadata.labels?.["ray.io/node-type"] === "head",
  );
  const runs = heads.some(
    ({ metadata, status: is }) => metadata.deletionTimestamp === undefined && is?.phase === "Running",
  );
  if (!runs) {
    const why = troubleOf(heads).join("; ") || "KubeRay has made no pod for it yet";
    return new HeadMissing(`Ray's dashboard of ${nameOf(address)} cannot be reached, no head runs: ${why}`, why);
  }
  return new DashboardUnreachable(
    `Ray's dashboard of ${nameOf(address)} cannot be reached: ${said} (${status})`,
    false,
  );
}

function gone(address: RayServiceAddress): DashboardUnreachable {
  return new DashboardUnreachable(`there is no ${nameOf(address)}`, true);
}

const nameOf = ({ namespace, rayService }: RayServiceAddress) => `RayService ${namespace}/${rayService}`;

const pathOf = ({ namespace, rayService }: RayServiceAddress) =>
  `/apis/ray.io/v1/namespaces/${namespace}/rayservices/${rayService}`;
