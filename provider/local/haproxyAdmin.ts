import { createConnection } from "node:net";
import { effect } from "../effects";
import { PROXIES, type ProxyName, serverDefinition, TRAFFIC } from "./haproxyConfig";

/** HAProxy did not do what it was told; the message is its own. */
export class AdminError extends Error {
  override readonly name = "AdminError";
}

/** `up` by its last health checks, `down` by them, `suspended` when somebody took it out (maintenance, drain). */
export type ServerStatus = "up" | "down" | "suspended";

/** One version's server in one proxy, as HAProxy reports it. */
export interface ServerReport {
  proxy: ProxyName;
  version: string;
  /** host:port */
  address: string;
  /** What the balancing uses, in percent: 0 while suspended, whatever weight was set. */
  weight: number;
  status: ServerStatus;
  /** Whether the last health check was answered as it should be. */
  checked: boolean;
  /** Requests in flight or queued. */
  sessions: number;
  /** Requests that it is given at a time; 0: no limit. */
  limit: number;
  counts: VersionCounts;
}

/** Since the version's server was added; gone with it. */
export interface VersionCounts {
  /** Requests given to the version. */
  requests: number;
  /** Answers with status 5xx, HAProxy's own 502 to 504 for this version included. */
  responses5xx: number;
  /** Connections that could not be made; most were retried. */
  connectionErrors: number;
  /** Connections that broke before or within an answer. */
  responseErrors: number;
}

const ANSWER_MS = 5000;

/** Sends one line to the admin socket and gives the answer, without blank lines at its ends: for lines that change nothing. */
export function ask(adminSocket: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (cause: string) => {
      socket.destroy();
      reject(
        new AdminError(
          `HAProxy's admin socket ${adminSocket} does not answer: ${cause}. ` +
            "If it stays so, end that HAProxy and run the update again, which starts it anew.",
        ),
      );
    };
    const chunks: Buffer[] = [];
    const socket = createConnection(adminSocket, () => socket.write(`${line}\n`));
    socket.setTimeout(ANSWER_MS, () => fail(`nothing for ${ANSWER_MS / 1000} s`));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error) => fail(error.message));
    socket.on("end", () => resolve(Buffer.concat(chunks).toString().trim()));
  });
}

/** The same for a line that changes what HAProxy does. */
export function command(adminSocket: string, line: string): Promise<string> {
  return effect("HAProxy command", line, () => ask(adminSocket, line));
}

/**
 * Sends commands that answer nothing when they succeed, as one batch that HAProxy works through in one go. One that
 * fails does not stop those after it.
 */
export async function tell(adminSocket: string, commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return;
  const answer = await command(adminSocket, commands.join(";"));
  if (answer !== "") throw new AdminError(`HAProxy refused a command: ${answer.replaceAll(/\s*\n\s*/g, "; ")}`);
}

/** Sends one command whose answer, when it succeeds, matches `success`. */
export async function expectAnswer(adminSocket: string, line: string, success: RegExp): Promise<RegExpExecArray> {
  const answer = await command(adminSocket, line);
  const match = success.exec(answer);
  if (match === null) throw new AdminError(`HAProxy refused "${line}": ${answer}`);
  return match;
}

/** Every server of every proxy that takes servers. One question, about a millisecond. */
export async function readServers(adminSocket: string): Promise<ServerReport[]> {
  return parseServers(await ask(adminSocket, "show stat -1 4 -1"));
}

/**
 * What the load balancer really does now, by version: `weight` in percent as the balancing uses it, `sessions` the
 * requests in flight or queued, those by version header included. One question, about a millisecond.
 */
export async function readWeights(
  adminSocket: string,
): Promise<Record<string, { weight: number; status: ServerStatus; sessions: number }>> {
  return byVersion(await readServers(adminSocket), (ofTraffic, all) => ({
    weight: ofTraffic?.weight ?? 0,
    status: ofTraffic?.status ?? "suspended",
    sessions: all.reduce((sum, server) => sum + server.sessions, 0),
  }));
}

/** Cumulative counts by version, requests by version header included. One question, about a millisecond. */
export async function readCounts(adminSocket: string): Promise<Record<string, VersionCounts>> {
  return byVersion(await readServers(adminSocket), (_, all) => {
    const sum = (count: keyof VersionCounts) => all.reduce((total, server) => total + server.counts[count], 0);
    return {
      requests: sum("requests"),
      responses5xx: sum("responses5xx"),
      connectionErrors: sum("connectionErrors"),
      responseErrors: sum("responseErrors"),
    };
  });
}

/** The entries of a pattern file as the running process has them, in the file's own form. */
export async function readEntries(adminSocket: string, kind: "acl" | "map", file: string): Promise<string[]> {
  const answer = await ask(adminSocket, `show ${kind} ${file}`);
  if (answer === "") return [];
  return answer.split("\n").map((line) => {
    const entry = /^0x[0-9a-f]+ (.+)$/.exec(line)?.[1];
    if (entry === undefined) throw new AdminError(`HAProxy cannot show ${file}: ${answer}`);
    return entry;
  });
}

/**
 * Prepares other entries for a pattern file beside those in use. The command that is given back puts all of them in
 * use at once: no request ever meets half of them, or none.
 */
export async function prepareEntries(
  adminSocket: string,
  kind: "acl" | "map",
  file: string,
  entries: readonly string[],
): Promise<string> {
  const [, version] = await expectAnswer(adminSocket, `prepare ${kind} ${file}`, /^New version created: (\d+)$/);
  await tell(
    adminSocket,
    entries.map((entry) => `add ${kind} @${version} ${file} ${entry}`),
  );
  return `commit ${kind} @${version} ${file}`;
}

/** Adds a server: it gets no traffic before its weight is set, and none at all before it is enabled. */
export async function addServer(
  adminSocket: string,
  proxy: ProxyName,
  version: string,
  address: string,
): Promise<void> {
  const line = `add server ${proxy}/${version} ${serverDefinition(address, 0)}`;
  await expectAnswer(adminSocket, line, /^New server registered\.$/);
}

/** The table of `show stat -1 4 -1`. Columns are found by name: their number grows with HAProxy's versions. */
export function parseServers(table: string): ServerReport[] {
  const [header = "", ...rows] = table.split("\n").filter((line) => line !== "");
  const names = header.replace(/^# /, "").split(",");
  const missing = ["pxname", "svname", "status", "weight", "uweight", "addr"].filter((name) => !names.includes(name));
  if (missing.length > 0) throw new AdminError(`HAProxy's statistics lack ${missing.join(", ")}: ${header}`);
  return rows
    .map((row) => row.split(","))
    .map((fields) => (name: string) => fields[names.indexOf(name)] ?? "")
    .filter((field) => PROXIES.some((proxy) => proxy === field("pxname")))
    .map((field) => {
      const status = statusOf(field("status"));
      return {
        proxy: field("pxname") as ProxyName,
        version: field("svname"),
        address: field("addr"),
        weight: status === "suspended" || field("uweight") === "0" ? 0 : Number(field("weight")),
        status,
        checked: field("check_status") === "L7OK",
        sessions: Number(field("scur")) + Number(field("qcur")),
        limit: Number(field("slim")),
        counts: {
          requests: Number(field("stot")),
          responses5xx: Number(field("hrsp_5xx")),
          connectionErrors: Number(field("econ")),
          responseErrors: Number(field("eresp")),
        },
      };
    });
}

function statusOf(text: string): ServerStatus {
  if (/^(MAINT|DRAIN)/.test(text)) return "suspended";
  // "UP 1/3" is on its way down and "DOWN 1/2" on its way up: each still counts as what it says.
  return text.startsWith("UP") || text === "no check" ? "up" : "down";
}

function byVersion<T>(
  servers: readonly ServerReport[],
  summary: (ofTraffic: ServerReport | undefined, all: ServerReport[]) => T,
): Record<string, T> {
  const versions = [...new Set(servers.map(({ version }) => version))];
  return Object.fromEntries(
    versions.map((version) => {
      const all = servers.filter((server) => server.version === version);
      return [
        version,
        summary(
          all.find(({ proxy }) => proxy === TRAFFIC),
          all,
        ),
      ];
    }),
  );
}
