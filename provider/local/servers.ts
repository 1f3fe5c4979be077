import { setTimeout as sleep } from "node:timers/promises";
import type { OperationContext } from "../resource";
import { addServer, command, readServers, type ServerReport, tell } from "./haproxyAdmin";
import { PROXIES, type ProxyName } from "./haproxyConfig";

/** One version's server in one proxy. */
export type Slot = { proxy: ProxyName; version: string };

const POLL_MS = 50;
const DRAIN_POLL_MS = 100;
/** Connections that were kept open to a removed server close within this time. */
const REMOVE_MS = 10_000;

/**
 * Adds the servers that are missing and takes in those that somebody or a killed update left out, all at weight 0.
 *
 * @param added is given the new ones, also when it fails half way
 * @returns those that have to prove their health
 */
export async function joinServers(
  adminSocket: string,
  backends: ReadonlyArray<{ version: string; address: string }>,
  before: readonly ServerReport[],
  added: Slot[],
): Promise<Slot[]> {
  const joining: Slot[] = [];
  for (const { version, address } of backends) {
    for (const proxy of PROXIES) {
      const server = before.find((report) => report.proxy === proxy && report.version === version);
      if (server !== undefined && server.status !== "suspended") continue;
      if (server === undefined) {
        await addServer(adminSocket, proxy, version, address);
        added.push({ proxy, version });
      }
      const name = `${proxy}/${version}`;
      await tell(adminSocket, [
        `set server ${name} weight 0`,
        `enable health ${name}`,
        `set server ${name} state ready`,
      ]);
      joining.push({ proxy, version });
    }
  }
  return joining;
}

export async function waitForHealth(
  adminSocket: string,
  slots: readonly Slot[],
  context: OperationContext,
  timeoutMs: number,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const servers = await readServers(adminSocket);
    const waiting = slots.filter(({ proxy, version }) => {
      const server = servers.find((report) => report.proxy === proxy && report.version === version);
      return server === undefined || server.status !== "up" || !server.checked;
    });
    if (waiting.length === 0) return;
    const versions = [...new Set(waiting.map(({ version }) => version))].join(", ");
    if (Date.now() >= end) {
      const addresses = servers.filter(({ version }) => waiting.some((slot) => slot.version === version));
      const where = [...new Set(addresses.map(({ address }) => `http://${address}/-/healthz`))].join(", ");
      throw new Error(
        `version ${versions} does not pass the load balancer's health check (GET ${where}) after ` +
          `${timeoutMs / 1000} s; no request was sent to it. See its cluster with: rayshift status`,
      );
    }
    context.progress(`waiting for the health check of version ${versions}`);
    await sleep(POLL_MS, undefined, { signal: context.signal });
  }
}

/**
 * Ends the servers that are no longer wanted, once their requests are finished. Those that are not after
 * `drainTimeoutSeconds` are cut off, with a warning.
 */
export async function removeUnwanted(
  adminSocket: string,
  wantedVersions: readonly string[],
  drainTimeoutSeconds: number,
  context: OperationContext,
): Promise<void> {
  const unwanted = (servers: ServerReport[]) => servers.filter(({ version }) => !wantedVersions.includes(version));
  const end = Date.now() + drainTimeoutSeconds * 1000;
  // A request that was assigned just before the change is counted a moment later: one look at nothing is not enough.
  for (let quietLooks = 0; quietLooks < 2; ) {
    const leaving = unwanted(await readServers(adminSocket));
    if (leaving.length === 0) return;
    const sessions = leaving.reduce((sum, server) => sum + server.sessions, 0);
    const versions = [...new Set(leaving.map(({ version }) => version))].join(", ");
    quietLooks = sessions === 0 ? quietLooks + 1 : 0;
    if (sessions > 0) {
      if (Date.now() >= end) {
        context.warn(
          `${sessions} requests of version ${versions} were not finished after ${drainTimeoutSeconds} s and are cut off. ` +
            "A longer drain timeout gives them more time.",
        );
        break;
      }
      context.progress(`version ${versions}: ${sessions} requests left`);
    }
    await sleep(DRAIN_POLL_MS, undefined, { signal: context.signal });
  }
  await removeServers(adminSocket, unwanted(await readServers(adminSocket)));
}

export async function removeServers(adminSocket: string, slots: readonly Slot[]): Promise<void> {
  for (const { proxy, version } of slots) {
    const name = `${proxy}/${version}`;
    await tell(adminSocket, [`set server ${name} state maint`, `shutdown sessions server ${name}`]);
    const end = Date.now() + REMOVE_MS;
    for (;;) {
      const answer = await command(adminSocket, `del server ${name}`);
      if (/^(Server deleted|No such server)\.$/.test(answer)) break;
      if (Date.now() >= end) throw new Error(`HAProxy does not remove the server ${name}: ${answer}`);
      await sleep(POLL_MS);
    }
  }
}
