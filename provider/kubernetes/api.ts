import { statSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { Agent, type RequestOptions, request as requestHttps } from "node:https";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import type { ApiServerAddress } from "../serve/dashboard";
import { within } from "../within";

/** Which API server, whatever the namespace. */
export type ApiServer = Pick<ApiServerAddress, "kubeconfig" | "context">;

/** An object of the API server as far as the project reads it. */
export interface KubernetesObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    generation?: number;
    creationTimestamp?: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    managedFields?: Array<{ manager: string; operation: string; time?: string; subresource?: string }>;
  };
}

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

export interface ApiRequest {
  method?: "GET" | "PUT" | "PATCH" | "POST" | "DELETE";
  headers?: Record<string, string>;
  body?: string;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

/** The API server does not answer, or the kubeconfig does not lead to one. */
export class ApiServerUnreachable extends Error {
  override readonly name = "ApiServerUnreachable";
}

/** The API server said no, in its own words. */
export class ApiServerRefused extends Error {
  override readonly name = "ApiServerRefused";
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const TIMEOUT_MS = 15_000;

/** Loaded at the first request: other targets do without it. */
const client = () => import("@kubernetes/client-node");
type KubeConfig = InstanceType<Awaited<ReturnType<typeof client>>["KubeConfig"]>;

interface Loaded {
  config: KubeConfig;
  /** The files that it was read from, each as it was then; others and it is read again. */
  source: string;
  /** Keeps connections: a rollout asks several times a second, and each would cost a handshake. */
  agent?: Agent;
}

const loaded = new Map<string, Loaded>();

/**
 * One request of the API server. TLS, client certificates, tokens and exec plugins are the business of the Kubernetes
 * client; nothing of them is kept anywhere.
 *
 * @throws ApiServerUnreachable when nothing answers; ApiServerRefused on 401; any other status is the caller's
 */
export async function ask(server: ApiServer, path: string, options: ApiRequest = {}): Promise<Answer> {
  const { method = "GET", headers = {}, body, timeoutMs = TIMEOUT_MS, signal } = options;
  signal?.throwIfAborted();
  const known = await configOf(server);
  const { config } = known;
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new ApiServerUnreachable(noContext(server, config));
  const request: RequestOptions = { method, headers: {} };
  try {
    await config.applyToHTTPSOptions(request);
  } catch (error) {
    throw new ApiServerUnreachable(`the credentials of ${nameOf(server)} cannot be had: ${(error as Error).message}`);
  }
  // Node leaves the length of a DELETE's body out, and the rest of a kept connection would be read as requests.
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  request.headers = { ...headers, ...length, ...request.headers, accept: "application/json" };
  keepConnections(known, request);
  const limited = within(timeoutMs, signal);
  request.signal = limited;
  let answer: Answer;
  try {
    answer = await send(new URL(cluster.server.replace(/\/$/, "") + path), request, body);
  } catch (error) {
    signal?.throwIfAborted();
    const why = limited.aborted ? limited.reason.message : (error as Error).message;
    throw new ApiServerUnreachable(`the API server ${cluster.server} of ${nameOf(server)} cannot be reached: ${why}`);
  }
  if (answer.status === 401 && isStatus(answer.text)) {
    loaded.delete(keyOf(server));
    retire(known.agent);
    throw new ApiServerRefused(
      `the API server ${cluster.server} does not accept the credentials of ${nameOf(server)} (401). Are they expired? ` +
        "Log in again, or give another kubeconfig in `rayshift:kubernetes`.",
      401,
    );
  }
  return answer;
}

/** An object, or undefined where there is none. Throws ApiServerRefused with the API server's words on other errors. */
export async function getObject<T extends KubernetesObject>(
  server: ApiServer,
  path: string,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const answer = await ask(server, path, { signal });
  if (answer.status === 404) return undefined;
  return parsed(answer, `GET ${path}`) as T;
}

/** All objects of a list; none where the API server does not know the kind. */
export async function listObjects<T extends KubernetesObject>(
  server: ApiServer,
  path: string,
  signal?: AbortSignal,
): Promise<T[]> {
  const answer = await ask(server, path, { signal });
  if (answer.status === 404) return [];
  return ((parsed(answer, `GET ${path}`) as { items?: T[] }).items ?? []) as T[];
}

/**
 * Server-side apply. Fields that somebody else set are taken over with `force`, and refused without.
 *
 * @returns the object as it is now
 */
export async function applyObject<T extends KubernetesObject>(
  server: ApiServer,
  path: string,
  object: KubernetesObject & Record<string, unknown>,
  { manager, force, signal }: { manager: string; force: boolean; signal?: AbortSignal | undefined },
): Promise<T> {
  const answer = await ask(server, `${path}?fieldManager=${manager}&force=${force}`, {
    method: "PATCH",
    headers: { "content-type": "application/apply-patch+yaml" },
    body: JSON.stringify(object),
    signal,
  });
  return parsed(answer, `applying ${object.kind} ${object.metadata.name}`) as T;
}

/** Deletes an object; one that is gone already is fine. */
export async function deleteObject(server: ApiServer, path: string, signal?: AbortSignal): Promise<void> {
  const answer = await ask(server, path, { method: "DELETE", signal });
  if (answer.status !== 404) parsed(answer, `DELETE ${path}`);
}

/** What an error of the API server says: its Status object's message. */
export function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string" && message !== "") return message;
  } catch {
    // Not a Status: the text itself says it.
  }
  return text.trim().slice(0, 500);
}

/** Whether a body is the API server's own word, and not that of what it forwarded to. */
export function isStatus(text: string): boolean {
  try {
    const { kind, apiVersion } = JSON.parse(text) as { kind?: unknown; apiVersion?: unknown };
    return kind === "Status" && apiVersion === "v1";
  } catch {
    return false;
  }
}

function parsed({ status, text }: Answer, what: string): unknown {
  if (status < 300) return JSON.parse(text);
  const remedy = status === 403 ? " Give the account this permission (docs/kubernetes.md has the Role)." : "";
  throw new ApiServerRefused(`${what}: ${messageOf(text)} (${status}).${remedy}`, status);
}

/** The same agent as long as the credentials are; one that goes through a proxy stays as the client made it. */
function keepConnections(known: Loaded, request: RequestOptions): void {
  if (!(request.agent instanceof Agent) || request.agent.constructor !== Agent) return;
  const { ca, cert, key } = request.agent.options;
  const before = known.agent?.options;
  if (
    before === undefined ||
    ![ca, cert, key].every((each, index) => same(each, [before.ca, before.cert, before.key][index]))
  ) {
    retire(known.agent);
    known.agent = new Agent({ ...request.agent.options, keepAlive: true });
  }
  request.agent = known.agent ?? request.agent;
}

/** Lets go of the connections that nobody uses: of the others somebody waits for an answer. */
function retire(agent: Agent | undefined): void {
  for (const sockets of Object.values(agent?.freeSockets ?? {})) for (const socket of sockets ?? []) socket.destroy();
}

const same = (a: unknown, b: unknown) => String(a) === String(b);

async function configOf(server: ApiServer): Promise<Loaded> {
  const { kubeconfig, context } = server;
  const key = keyOf(server);
  const source = sourceOf(kubeconfig);
  const known = loaded.get(key);
  if (known !== undefined && known.source === source) return known;
  retire(known?.agent);
  const { KubeConfig } = await client();
  const config = new KubeConfig();
  try {
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
  } catch (error) {
    throw new ApiServerUnreachable(`${nameOf(server)} cannot be read: ${(error as Error).message}`);
  }
  if (context !== undefined) {
    if (config.getContextObject(context) === null) throw new ApiServerUnreachable(noContext(server, config));
    config.setCurrentContext(context);
  }
  const fresh = { config, source };
  loaded.set(key, fresh);
  return fresh;
}

function noContext(server: ApiServer, config: KubeConfig): string {
  const known = config.getContexts().map(({ name }) => name);
  return `${nameOf(server)} has no such context, or one without a cluster; it has ${known.join(", ") || "none"}`;
}

/** The usual rules of the client, where the stack names no file. */
function sourceOf(kubeconfig: string | undefined): string {
  const usual = () => (process.env.KUBECONFIG || join(homedir(), ".kube", "config")).split(delimiter);
  const files = kubeconfig === undefined ? usual() : [kubeconfig];
  return files.map((file) => `${file} ${statSync(file, { throwIfNoEntry: false })?.mtimeMs}`).join();
}

const keyOf = ({ kubeconfig = "", context = "" }: ApiServer) => `${kubeconfig}\n${context}`;

function nameOf({ kubeconfig, context }: ApiServer): string {
  const file = kubeconfig === undefined ? "the default kubeconfig" : `kubeconfig ${kubeconfig}`;
  return context === undefined ? file : `${file} (context ${context})`;
}

/** Not fetch: its Sec-Fetch-Mode header is passed on, and makes Ray take it for a browser's. */
function send(url: URL, options: RequestOptions, body: string | undefined): Promise<Answer> {
  const request = url.protocol === "https:" ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const sent = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
        }),
      );
    });
    sent.on("error", (error: NodeJS.ErrnoException) => {
      // The other end closed a kept connection at the very moment: nothing of the request was taken.
      if (error.code === "ECONNRESET" && sent.reusedSocket) resolve(send(url, options, body));
      else reject(error);
    });
    sent.end(body);
  });
}
