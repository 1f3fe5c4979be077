import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { OperationContext } from "../resource";
import type { DashboardEndpoint } from "../serve/dashboard";
import { proveReady } from "../serve/readiness";
import { within } from "../within";
import { expectAnswer, prepareEntries, readEntries, readServers, type ServerReport, tell } from "./haproxyAdmin";
import {
  accessEntries,
  haproxyFiles,
  limitFor,
  PINNED,
  PROXIES,
  type Routing,
  roleEntries,
  TRAFFIC,
  tokenEntries,
} from "./haproxyConfig";
import { joinServers, removeServers, type Slot, waitForHealth } from "./servers";

/** A version's cluster behind the load balancer; `weight` in percent of the requests. */
export interface Backend extends DashboardEndpoint {
  version: string;
  /** host:port of Serve's HTTP proxy */
  address: string;
  weight: number;
}

/**
 * Resolves when the version's cluster can really take this much traffic, with the number of requests that it works on at a
 * time at full capacity (undefined: not known); throws an Error with the reason when not.
 */
export type AssertReady = (
  backend: Backend,
  trafficPercent: number,
  signal: AbortSignal,
) => Promise<number | undefined>;

/** What a shift is to reach. */
export type Wanted = Omit<Routing, "backends" | "port"> & {
  backends: readonly Backend[];
  drainTimeoutSeconds: number;
};

/** How long to wait, in milliseconds. */
export interface Patience {
  /** for the first good health check of a backend */
  healthMs: number;
  /** until HAProxy does what it accepted */
  readBackMs: number;
}

/** What HAProxy really does. */
export interface Live {
  servers: ServerReport[];
  /** Entries as in the pattern files. */
  roles: string[];
  access: string[];
  tokens: string[];
}

const POLL_MS = 50;

export async function readLive(directory: string): Promise<Live> {
  const { adminSocket, roles, access, tokens } = haproxyFiles(directory);
  return {
    servers: await readServers(adminSocket),
    roles: await readEntries(adminSocket, "map", roles),
    access: await readEntries(adminSocket, "acl", access),
    tokens: await readEntries(adminSocket, "acl", tokens),
  };
}

/**
 * Brings a running HAProxy to what is wanted, up to the moment when its data plane confirms it. No request is dropped
 * and at no instant does a version get more traffic than the larger of what it had and what it is to have. When a
 * backend is not ready, it throws with nothing changed.
 */
export async function shift(
  directory: string,
  wanted: Wanted,
  context: OperationContext,
  assertReady: AssertReady,
  patience: Patience,
): Promise<void> {
  const files = haproxyFiles(directory);
  const before = await readServers(files.adminSocket);
  const added: Slot[] = [];
  let limits: Record<string, number>;
  try {
    const joining = await joinServers(files.adminSocket, wanted.backends, before, added);
    await waitForHealth(files.adminSocket, joining, context, patience.healthMs);
    limits = await proveRising(wanted.backends, before, context, assertReady);
    context.signal.throwIfAborted();
  } catch (error) {
    const now = await readServers(files.adminSocket);
    // One that somebody gave requests meanwhile stays with them: the next update sees it.
    const idle = added.filter(({ version }) => weightOf(now, version) === 0);
    await removeServers(files.adminSocket, idle);
    throw error;
  }
  await moveAddresses(files.adminSocket, wanted.backends, before);
  const roles = await prepareEntries(files.adminSocket, "map", files.roles, roleEntries(wanted));
  const tokens = await prepareEntries(files.adminSocket, "acl", files.tokens, tokenEntries(wanted));
  const access = await prepareEntries(files.adminSocket, "acl", files.access, accessEntries(wanted));
  // Between the two nobody may be turned away who has the right token before or after.
  const doors = wanted.queryAuthToken === undefined ? [access, tokens] : [tokens, access];
  const pinned = wanted.backends.map(({ version }) => `set server ${PINNED}/${version} weight 0`);
  // A server takes from the common queue when one of its own requests ends, or when it comes back: one without requests
  // would get none until nothing waits any more.
  const weights = weightCommands(wanted.backends, before).flatMap((command) => {
    const risen = wanted.backends.find(({ version, weight }) => {
      return weight > 0 && weightOf(before, version) === 0 && command === weightCommand(version, weight);
    });
    const name = `${TRAFFIC}/${risen?.version}`;
    return risen === undefined
      ? [command]
      : [command, `set server ${name} state maint`, `set server ${name} state ready`];
  });
  // A server that is down hides that somebody took it out as well.
  const ready = PROXIES.flatMap((proxy) => {
    return wanted.backends.map(({ version }) => `set server ${proxy}/${version} state ready`);
  });
  const limited = Object.entries(limits).flatMap(([version, limit]) => {
    return PROXIES.map((proxy) => `set maxconn server ${proxy}/${version} ${limit}`);
  });
  await tell(files.adminSocket, limited);
  await tell(files.adminSocket, [roles, ...doors, ...weights, ...pinned, ...ready]);
  await readBack(directory, wanted, context, patience.readBackMs);
}

/**
 * The weight commands in the order that is safe between any two of them. Raising comes first: the weights are relative,
 * so lowering first would for a moment leave nobody when all of the traffic moves.
 */
export function weightCommands(
  backends: readonly Pick<Backend, "version" | "weight">[],
  before: readonly Pick<ServerReport, "proxy" | "version" | "weight">[],
): string[] {
  const had = (version: string) => weightOf(before, version);
  const leaving = before
    .filter(({ proxy, version }) => proxy === TRAFFIC && !backends.some((backend) => backend.version === version))
    .map(({ version }) => ({ version, weight: 0 }));
  const all = [...backends, ...leaving];
  const raised = all.filter(({ version, weight }) => weight > had(version));
  const others = all.filter(({ version, weight }) => weight <= had(version));
  return [...raised, ...others].map(({ version, weight }) => weightCommand(version, weight));
}

const weightCommand = (version: string, weight: number) => `set server ${TRAFFIC}/${version} weight ${weight}`;

/**
 * Asks the cluster of every backend that is to get more than it has, or whose address is another one now. One whose old
 * address is dead may move without an answer when it is to get no more: its cluster was made anew, and what it runs may
 * only come after this.
 *
 * @returns the limits of those that said how much they work on at a time, by version
 */
async function proveRising(
  backends: readonly Backend[],
  before: readonly ServerReport[],
  context: OperationContext,
  assertReady: AssertReady,
): Promise<Record<string, number>> {
  const limits: Record<string, number> = {};
  for (const backend of backends) {
    const known = before.find(({ proxy, version }) => proxy === TRAFFIC && version === backend.version);
    const moved = known !== undefined && known.address !== backend.address;
    const raised = backend.weight > weightOf(before, backend.version);
    if (!raised && (!moved || known.status === "down")) continue;
    if (moved) await requireHealthz(backend, context.signal);
    if (backend.weight === 0) continue;
    const limit = await requireReady(backend, context, assertReady);
    if (limit !== undefined) limits[backend.version] = limit;
  }
  return limits;
}

/** @returns the version's limit; undefined when its cluster did not say how much it works on at a time */
export async function requireReady(
  backend: Backend,
  context: OperationContext,
  assertReady: AssertReady,
): Promise<number | undefined> {
  const { version, weight } = backend;
  const slots = await proveReady(version, weight, context, () => assertReady(backend, weight, context.signal));
  return slots === undefined ? undefined : limitFor(slots);
}

async function requireHealthz({ version, address }: Backend, signal: AbortSignal): Promise<void> {
  const url = `http://${address}/-/healthz`;
  const failure = await new Promise<string | undefined>((resolve) => {
    const outgoing = get(url, { agent: false, signal: within(5000, signal) });
    outgoing.on("error", (error) => resolve(error.message));
    outgoing.on("response", (incoming) => {
      incoming.resume();
      resolve(incoming.statusCode === 200 ? undefined : `status ${incoming.statusCode}`);
    });
  });
  signal.throwIfAborted();
  if (failure === undefined) return;
  throw new Error(
    `version ${version} does not answer at its new address (GET ${url}: ${failure}). The traffic was left as it was.`,
  );
}

async function moveAddresses(
  adminSocket: string,
  backends: readonly Backend[],
  before: readonly ServerReport[],
): Promise<void> {
  for (const { proxy, version, address } of before) {
    const backend = backends.find((candidate) => candidate.version === version);
    if (backend === undefined || backend.address === address) continue;
    const [host, port] = hostAndPort(backend.address);
    const command = `set server ${proxy}/${version} addr ${host} port ${port}`;
    await expectAnswer(adminSocket, command, /changed from .* by 'stats socket command'$/);
  }
}

/** What differs between what HAProxy does and what is wanted, in words; empty when nothing does. */
export function differences(live: Live, wanted: Omit<Wanted, "drainTimeoutSeconds">): string[] {
  const found: string[] = [];
  for (const { version, weight, address } of wanted.backends) {
    for (const proxy of PROXIES) {
      const server = live.servers.find((report) => report.proxy === proxy && report.version === version);
      const percent = proxy === TRAFFIC ? weight : 0;
      if (server === undefined) found.push(`${proxy}/${version} is missing`);
      else if (server.status === "suspended") found.push(`${proxy}/${version} is taken out of service`);
      else if (server.weight !== percent) found.push(`${proxy}/${version} has weight ${server.weight}, not ${percent}`);
      else if (server.address !== address) found.push(`${proxy}/${version} is at ${server.address}, not ${address}`);
    }
  }
  for (const { proxy, version, weight } of live.servers) {
    if (wanted.backends.some((backend) => backend.version === version) || weight === 0) continue;
    found.push(`${proxy}/${version} has weight ${weight}, but is not wanted`);
  }
  if (!sameEntries(live.roles, roleEntries(wanted))) {
    found.push(
      `the version header's roles are ${live.roles.join(", ") || "none"}, not ${roleEntries(wanted).join(", ")}`,
    );
  }
  const locked = sameEntries(live.access, accessEntries(wanted)) && sameEntries(live.tokens, tokenEntries(wanted));
  if (!locked) found.push("the query token is another one");
  return found;
}

async function readBack(
  directory: string,
  wanted: Wanted,
  context: OperationContext,
  timeoutMs: number,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const wrong = differences(await readLive(directory), wanted);
    if (wrong.length === 0) return;
    if (Date.now() >= end) {
      throw new Error(
        `HAProxy accepted the change but does not do it: ${wrong.join("; ")} (read back for ${timeoutMs / 1000} s from ` +
          `${haproxyFiles(directory).adminSocket}). Something else may be changing it; run the update again to repair it.`,
      );
    }
    await sleep(POLL_MS, undefined, { signal: context.signal });
  }
}

function weightOf(servers: readonly Pick<ServerReport, "proxy" | "version" | "weight">[], version: string): number {
  return servers.find((server) => server.proxy === TRAFFIC && server.version === version)?.weight ?? 0;
}

function hostAndPort(address: string): [host: string, port: number] {
  const colon = address.lastIndexOf(":");
  return [address.slice(0, colon), Number(address.slice(colon + 1))];
}

function sameEntries(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((entry) => right.includes(entry));
}
