import { readFile } from "node:fs/promises";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { effect } from "../effects";
import { within } from "../within";
import type { ServeDeployment } from "./config";
import { deploymentsOf, NotJson, type Observation, parseObservation } from "./observation";

/** How to reach the dashboard of a cluster: where it listens, or through the API server of a Kubernetes cluster. */
export type DashboardAddress = DashboardEndpoint | CloudDashboard | RayServiceDashboard;

/** Ray's token is in the file (0600), never in the Pulumi state. */
export interface DashboardEndpoint {
  /** Such as http://127.0.0.1:8265. */
  dashboardUrl: string;
  dashboardTokenFile?: string;
  dashboardToken?: undefined;
  instances?: undefined;
  kubernetes?: undefined;
}

/** Of a head in a cloud, on its private network. Ray's token is a secret of the stack, encrypted in its state. */
export interface CloudDashboard {
  dashboardUrl: string;
  dashboardToken: string;
  /** Where the machines of the cluster are counted. */
  instances?: InstancesAddress;
  dashboardTokenFile?: undefined;
  kubernetes?: undefined;
}

/** The machines of one cluster in a cloud, by the name that Ray's autoscaler tags them with. */
export type InstancesAddress = AwsInstances | GcpInstances;

export interface AwsInstances {
  cloud: "aws";
  region: string;
  clusterName: string;
}

export interface GcpInstances {
  cloud: "gcp";
  project: string;
  zone: string;
  clusterName: string;
}

export interface RayServiceDashboard {
  kubernetes: RayServiceAddress;
  dashboardUrl?: undefined;
  dashboardTokenFile?: undefined;
  dashboardToken?: undefined;
  instances?: undefined;
}

/** How to reach the API server: the path of a kubeconfig and never what is in it. */
export interface ApiServerAddress {
  /** Absent: the usual rules, KUBECONFIG, ~/.kube/config, the pod's own account. */
  kubeconfig?: string | undefined;
  /** Absent: the current one of the kubeconfig. */
  context?: string | undefined;
  namespace: string;
}

/** A RayService of KubeRay, whose RayCluster is the cluster. */
export interface RayServiceAddress extends ApiServerAddress {
  rayService: string;
}

/** The address in words, for messages. */
export function placeOf({ dashboardUrl, kubernetes }: DashboardAddress): string {
  return dashboardUrl ?? `RayService ${kubernetes?.namespace}/${kubernetes?.rayService}`;
}

/** Nothing usable answered: no connection, a timeout, or an error of the dashboard itself. May pass. */
export class DashboardUnreachable extends Error {
  override readonly name = "DashboardUnreachable";
  constructor(
    message: string,
    /** Nothing of Ray listens at the address: the cluster's head is gone, not merely slow. */
    readonly refused: boolean,
  ) {
    super(message);
  }
}

/** Whoever leads to the dashboard does not answer, or does not let us in: nothing is known of the cluster itself. */
export class NoWayToDashboard extends DashboardUnreachable {
  constructor(message: string) {
    super(message, false);
  }
}

/** There is no head that could answer; another may come, with nothing of what this one had. */
export class HeadMissing extends DashboardUnreachable {
  constructor(
    message: string,
    /** Why it does not come, in the words of whoever is to make it. */
    readonly why: string,
  ) {
    super(message, false);
  }
}

/** Ray answered and said no; the message holds Ray's own text. */
export class ServeRejected extends Error {
  override readonly name = "ServeRejected";
}

const READ_TIMEOUT_MS = 10_000;
/** The first PUT starts Serve's controller and proxy and answers after that. */
const WRITE_TIMEOUT_MS = 120_000;
const PATH = "/api/serve/applications/";

/** What runs on the cluster. A cluster on which Serve was never started has no applications. */
export async function getApplications(address: DashboardAddress, signal?: AbortSignal): Promise<Observation> {
  const text = await getText(address, PATH, signal);
  try {
    return parseObservation(text, placeOf(address));
  } catch (error) {
    // Only on this host is a port of a head that has ended soon another program's; elsewhere something may stand in between.
    if (!(error instanceof NotJson) || address.dashboardTokenFile === undefined) throw error;
    const why = `another program answers there, ${text.slice(0, 200)}`;
    throw new DashboardUnreachable(`Ray's dashboard at ${address.dashboardUrl} cannot be reached: ${why}`, true);
  }
}

/** Whether any replica serves requests; none does where Ray does not answer. */
export async function runsAnything(address: DashboardAddress, signal?: AbortSignal): Promise<boolean> {
  try {
    return deploymentsOf(await getApplications(address, signal)).some(({ observed }) => observed.running > 0);
  } catch (error) {
    if (error instanceof DashboardUnreachable) return false;
    throw error;
  }
}

/** Replaces the whole Serve config of the cluster. Ray has taken it over when this returns, and converges after that. */
export async function putApplications(
  address: DashboardAddress,
  config: ServeDeployment,
  signal?: AbortSignal,
): Promise<void> {
  const detail = `${placeOf(address)}, target_capacity ${config.target_capacity}`;
  await effect("PUT Serve config", detail, async () => {
    if (address.kubernetes === undefined) await request(address, "PUT", PATH, WRITE_TIMEOUT_MS, signal, config);
    else await (await rayServices()).sendConfig(address.kubernetes, config, signal);
  });
}

/** Shuts Serve down on the cluster, with all applications. */
export async function deleteApplications(address: DashboardAddress, signal?: AbortSignal): Promise<void> {
  await effect("DELETE Serve applications", placeOf(address), async () => {
    if (address.kubernetes === undefined) await request(address, "DELETE", PATH, WRITE_TIMEOUT_MS, signal);
    else await (await rayServices()).removeConfig(address.kubernetes, signal);
  });
}

/** The answer to a GET of another part of the dashboard's API. Throws as {@link getApplications} does. */
export async function getText(address: DashboardAddress, path: string, signal?: AbortSignal): Promise<string> {
  if (address.kubernetes === undefined) return request(address, "GET", path, READ_TIMEOUT_MS, signal);
  return (await rayServices()).getFromDashboard(address.kubernetes, path, READ_TIMEOUT_MS, signal);
}

/** Loaded where it is needed only: other targets do without its client. */
const rayServices = () => import("../kubernetes/rayService.js");

async function request(
  address: DashboardEndpoint | CloudDashboard,
  method: "GET" | "PUT" | "DELETE",
  path: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  body?: object,
): Promise<string> {
  signal?.throwIfAborted();
  const limited = within(timeoutMs, signal);
  const token = await readToken(address);
  let answer: Answer;
  try {
    answer = await send(new URL(path, address.dashboardUrl), {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: limited,
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw unreachable(address, limited.aborted ? limited.reason.message : causeOf(error), error);
  }
  const { status, text } = answer;
  if (status === 401 || status === 403) {
    const { dashboardTokenFile = "the stack" } = address;
    const remedy =
      token === undefined
        ? `No token could be read from ${address.dashboardTokenFile ?? "a token file, none is set"}.`
        : `The token in ${dashboardTokenFile} is not the cluster's.`;
    throw new ServeRejected(`Ray's dashboard at ${address.dashboardUrl} refused the token (${status}). ${remedy}`);
  }
  if (status >= 500) {
    throw unreachable(address, `it answered ${status}: ${lastLines(text)}`);
  }
  if (status >= 300) {
    throw new ServeRejected(`Ray Serve at ${address.dashboardUrl} rejected the config (${status}): ${text.trim()}`);
  }
  return text;
}

/** The token, read at each use since a cluster that was made anew has a new one. Absent when its file is gone. */
async function readToken({
  dashboardTokenFile,
  dashboardToken,
}: DashboardEndpoint | CloudDashboard): Promise<string | undefined> {
  if (dashboardToken !== undefined) return dashboardToken;
  if (dashboardTokenFile === undefined) return undefined;
  try {
    return (await readFile(dashboardTokenFile, "utf8")).trim();
  } catch (error) {
    // The file goes with its cluster: whether one still answers is for the request to find out.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

interface Answer {
  status: number;
  text: string;
}

/** One request on a connection of its own. Not fetch: its Sec-Fetch-Mode header makes Ray take it for a browser's. */
function send(
  url: URL,
  { body, ...options }: { method: string; headers: Record<string, string>; body?: string; signal: AbortSignal },
): Promise<Answer> {
  const request = url.protocol === "https:" ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const sent = request(url, { ...options, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function unreachable(address: DashboardEndpoint | CloudDashboard, why: string, error?: unknown): DashboardUnreachable {
  const message = `Ray's dashboard at ${address.dashboardUrl} cannot be reached: ${why}`;
  return new DashboardUnreachable(message, isRefused(error));
}

function causeOf(error: unknown): string {
  return isRefused(error) ? "nothing listens there (connection refused)" : (error as Error).message;
}

/** Also of an address with several IPs, where each refuses. */
function isRefused(error: unknown): boolean {
  const { code, errors } = (error ?? {}) as { code?: string; errors?: unknown[] };
  return code === "ECONNREFUSED" || (errors !== undefined && errors.length > 0 && errors.every(isRefused));
}

function lastLines(text: string): string {
  return text.trim().split("\n").slice(-3).join("\n").slice(-500);
}
