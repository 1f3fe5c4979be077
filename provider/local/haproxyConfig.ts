import { createHash } from "node:crypto";

/** The proxy that takes the requests in. */
export const FRONTEND = "service";
/** The proxies of the configuration that take servers. Every version is a server of both, under its own name. */
export const TRAFFIC = "traffic";
/** Reached by the version header only: all its weights are 0, so that nothing but the role's own version answers. */
export const PINNED = "pinned";
export const PROXIES = [TRAFFIC, PINNED] as const;
export type ProxyName = (typeof PROXIES)[number];

/** A stream may be silent for this long, a WebSocket too; a connection between two requests is kept as long. */
const STREAM_SECONDS = 3600;
/** A request that has waited this long for a version is refused: most clients have given up by then. */
const QUEUE_SECONDS = 60;

/** What one HAProxy is to do. */
export interface Routing {
  port: number;
  /** `weight` in percent; `limit` is the number of requests that the version is given at a time, absent: no limit. */
  backends: ReadonlyArray<{ version: string; address: string; weight: number; limit?: number }>;
  primary: string;
  canary?: string | undefined;
  queryAuthToken?: string | undefined;
}

/** The files in a load balancer's directory. */
export function haproxyFiles(directory: string) {
  return {
    config: `${directory}/haproxy.cfg`,
    adminSocket: `${directory}/admin.sock`,
    roles: `${directory}/roles.map`,
    access: `${directory}/access.lst`,
    tokens: `${directory}/tokens.lst`,
  };
}

/** The contents of all files that HAProxy starts from, by path. */
export function haproxyConfig(directory: string, routing: Routing): Record<string, string> {
  const files = haproxyFiles(directory);
  return {
    [files.roles]: lines(roleEntries(routing)),
    [files.access]: lines(accessEntries(routing)),
    [files.tokens]: lines(tokenEntries(routing)),
    [files.config]: mainConfig(directory, routing),
  };
}

/** Lines of the roles map: role and version. */
export function roleEntries({ primary, canary }: Pick<Routing, "primary" | "canary">): string[] {
  return [`primary ${primary}`, ...(canary === undefined ? [] : [`canary ${canary}`])];
}

/** "open" lets every request in; anything else, or nothing, asks for a token. */
export function accessEntries({ queryAuthToken }: Pick<Routing, "queryAuthToken">): string[] {
  return [queryAuthToken === undefined ? "open" : "token"];
}

export function tokenEntries({ queryAuthToken }: Pick<Routing, "queryAuthToken">): string[] {
  return queryAuthToken === undefined ? [] : [tokenDigest(queryAuthToken)];
}

/** What HAProxy keeps of a token: enough to compare, useless to send, and its look-up time tells nothing about the token. */
export function tokenDigest(token: string): string {
  return createHash("sha256").update(token).digest("hex").toUpperCase();
}

/** The port that a configuration written by `haproxyConfig` listens on. */
export function portOf(config: string): number | undefined {
  const port = /^ {2}bind 127\.0\.0\.1:(\d+)$/m.exec(config)?.[1];
  return port === undefined ? undefined : Number(port);
}

/** A server's definition, the same in the file and over the admin socket (which knows no default-server). */
export function serverDefinition(address: string, weight: number, limit = 0): string {
  return `${address} weight ${weight} maxconn ${limit} check inter 1s fastinter 250ms fall 3 rise 2`;
}

/**
 * How many requests a version is given at a time. Serve's proxy slows down with the requests that pile up in it, until it
 * answers none in time; here they wait for nothing. Twice what the replicas work on keeps them busy and the proxy quick.
 *
 * @param slots requests that its replicas work on at a time at full capacity
 */
export function limitFor(slots: number): number {
  return 2 * slots;
}

function mainConfig(directory: string, { port, backends }: Routing): string {
  const files = haproxyFiles(directory);
  const servers = (proxy: ProxyName) =>
    backends.map(({ version, address, weight, limit }) => {
      return `  server ${version} ${serverDefinition(address, proxy === TRAFFIC ? weight : 0, limit)}\n`;
    });
  return `\
# Written by rayshift after each change. The admin socket changes the running process; this file is for its next start.
global
  stats socket ${files.adminSocket} mode 600 level admin
  # Two processes must never share the port in silence.
  noreuseport

defaults
  mode http
  timeout connect 5s
  timeout check 5s
  timeout queue ${QUEUE_SECONDS}s
  timeout client ${STREAM_SECONDS}s
  timeout server ${STREAM_SECONDS}s
  timeout tunnel ${STREAM_SECONDS}s
  http-reuse safe
  # Only what never reached a cluster is tried again: a request that was sent may have had its effect.
  retries 3
  retry-on conn-failure
  option abortonclose
  # HAProxy's own refusals; a version's 503 passes as it is.
  http-error status 503 content-type text/plain string "Every version of this service is overloaded or down. Try again later.\\n" hdr Retry-After 10
  option httpchk GET /-/healthz
  http-check expect status 200

frontend ${FRONTEND}
  bind 127.0.0.1:${port}
  acl open str(open) -m str -f ${files.access}
  acl token_is_valid http_auth_bearer,sha2(256),hex -m str -f ${files.tokens}
  http-request return status 401 content-type text/plain string "This service asks for its token: send the header Authorization: Bearer <token>.\\n" hdr WWW-Authenticate Bearer if !open !token_is_valid
  http-request del-header Authorization if !open
  http-request set-var(txn.version) req.fhdr(X-ANYSCALE-VERSION),map_str(${files.roles})
  http-request return status 404 content-type text/plain string "This service has no canary version now.\\n" if { req.fhdr(X-ANYSCALE-VERSION) -m str canary } !{ var(txn.version) -m found }
  use_backend ${PINNED} if { var(txn.version) -m found }
  default_backend ${TRAFFIC}

backend ${TRAFFIC}
  balance roundrobin
  option redispatch 1
${servers(TRAFFIC).join("")}
backend ${PINNED}
  balance roundrobin
  use-server %[var(txn.version)] if TRUE
${servers(PINNED).join("")}`;
}

function lines(entries: readonly string[]): string {
  return entries.map((entry) => `${entry}\n`).join("");
}
