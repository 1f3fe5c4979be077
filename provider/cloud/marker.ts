import { lookup } from "node:dns/promises";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { MarkerAddress, Share } from "../serve/guards";
import { within } from "../within";

/** Path at which a cloud's load balancer answers with the weights that it goes by, itself and not through a cluster. */
export const markerPath = "/-/rayshift/weights";
/** The header that chooses a version by its role, as Anyscale has it. */
export const versionHeader = "X-ANYSCALE-VERSION";

const PREFIX = "rayshift-weights ";
const TIMEOUT_MS = 5000;

/** The marker's text for weights in percent, by version, in their order. */
export function markerText(weights: ReadonlyArray<{ version: string; weight: number }>): string {
  return PREFIX + markerWeights(weights);
}

/** The part of a marker that a path can hold: a load balancer that gives no texts answers with a redirect to it. */
export function markerWeights(weights: ReadonlyArray<{ version: string; weight: number }>): string {
  return weights.map(({ version, weight }) => `${version}=${weight}`).join(",");
}

/** The weights in a marker's text; undefined for any other text. */
export function weightsIn(text: string): Record<string, number> | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) return undefined;
  const entries = trimmed.slice(PREFIX.length).split(",");
  const parsed = entries.map((entry) => /^([-\w.]+)=(\d{1,3})$/.exec(entry));
  if (parsed.some((match) => match === null)) return undefined;
  return Object.fromEntries(parsed.map((match) => [match?.[1], Number(match?.[2])]));
}

/** The marker of a redirect. */
function markerIn(location: string | undefined): string | undefined {
  const [, weights] = location?.split(`${markerPath}/`) ?? [];
  return weights === undefined ? undefined : PREFIX + decodeURIComponent(weights);
}

/** The load balancer has no weights: it answers without a marker, or there is none of its name. */
export class NoMarker extends Error {
  override readonly name = "NoMarker";
}

/** What one address of the data plane answers. */
export interface Answer {
  status: number;
  marker: string | undefined;
  text: string;
}

/**
 * The weights by version, as the data plane has them. Nothing tells when they were changed: now is late enough for
 * whoever waits for the requests from before.
 *
 * @throws NoMarker, or Error when no address answers
 */
export async function readMarkerWeights(address: MarkerAddress, signal?: AbortSignal): Promise<Record<string, Share>> {
  const problems: Error[] = [];
  for (const ip of await addressesOf(address)) {
    const look = await weightsAt(address, ip, signal);
    if (!(look instanceof Error)) {
      const since = Date.now();
      return Object.fromEntries(Object.entries(look).map(([version, weight]) => [version, { weight, since }]));
    }
    problems.push(look);
  }
  const said = `the load balancer at ${address.url} does not tell its weights: ${problems.map(({ message }) => message).join("; ")}`;
  const none = problems.every((problem) => problem instanceof NoMarker) || (await isGone(address, signal));
  throw none ? new NoMarker(said) : new Error(said);
}

/** An address of Google Cloud's answers nobody when its load balancer is gone, as one that cannot be reached does. */
async function isGone({ forwardingRule }: MarkerAddress, signal?: AbortSignal): Promise<boolean> {
  if (forwardingRule === undefined) return false;
  return !(await (await import("../gcp/compute.js")).exists(forwardingRule, signal));
}

/** The weights that one address of the data plane goes by, or what it says in their place. */
export async function weightsAt(
  address: MarkerAddress,
  ip: string,
  signal?: AbortSignal,
): Promise<Record<string, number> | Error> {
  try {
    const { status, marker, text } = await ask(address, ip, markerPath, {}, signal);
    const weights = weightsIn(marker ?? text);
    return status < 400 && weights !== undefined ? weights : new NoMarker(`${ip} answers ${status}`);
  } catch (error) {
    signal?.throwIfAborted();
    return new Error(`${ip}: ${(error as Error).message}`);
  }
}

/** Every address that the load balancer's name stands for now; a cloud has some in each zone. */
export async function addressesOf({ url }: MarkerAddress): Promise<string[]> {
  const { hostname } = new URL(url);
  const found = await lookup(hostname.replace(/^\[|\]$/g, ""), { all: true }).catch((error: NodeJS.ErrnoException) => {
    const said = `the load balancer's name ${hostname} cannot be resolved: ${error.message}`;
    throw error.code === "ENOTFOUND" ? new NoMarker(said) : new Error(said);
  });
  return found.map(({ address }) => address);
}

/** A GET at one address of the data plane, with the token as any request has it. */
export function ask(
  { url, hostname, queryAuthToken }: MarkerAddress,
  ip: string,
  path: string,
  headers: Record<string, string>,
  signal?: AbortSignal,
): Promise<Answer> {
  const target = new URL(path, url);
  const limited = within(TIMEOUT_MS, signal);
  return new Promise((resolve, reject) => {
    const request = target.protocol === "https:" ? requestHttps : requestHttp;
    const sent = request(
      {
        host: ip,
        port: target.port || (target.protocol === "https:" ? 443 : 80),
        path: target.pathname,
        agent: false,
        // The certificate is the service's, not the load balancer's.
        servername: hostname ?? target.hostname,
        headers: {
          ...headers,
          host: hostname ?? target.host,
          ...(queryAuthToken === undefined ? {} : { authorization: `Bearer ${queryAuthToken}` }),
        },
        signal: limited,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          resolve({
            status: response.statusCode ?? 0,
            marker: markerIn(response.headers.location),
            text: Buffer.concat(chunks).toString(),
          });
        });
      },
    );
    sent.on("error", (error) => reject(limited.aborted ? limited.reason : error));
    sent.end();
  });
}
