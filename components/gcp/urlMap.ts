import { markerPath, markerWeights, versionHeader } from "../../provider/cloud/marker";

/** A version behind the load balancer: `service` is the path of its backend service, `weight` in percent. */
export interface Weighted {
  version: string;
  service: string;
  weight: number;
}

export interface UrlMapArgs {
  primary: Weighted;
  canary?: Weighted | undefined;
  /** A backend service without backends: what is refused cannot reach a cluster, whatever becomes of its rule. */
  refusal: string;
  /** Absent: requests need no token. */
  queryAuthToken?: string | undefined;
  /** Of the requests of the map's own tests. */
  hostname: string;
}

/** Longest time that a response may take; the load balancer's own default is 30 s, too short for a stream of tokens. */
export const REQUEST_SECONDS = 3600;

interface HeaderMatch {
  headerName: string;
  exactMatch: string;
}

/** What is known of a rule, in the words of Google Cloud's API as Pulumi spells them. */
export interface RouteRule {
  priority: number;
  matchRules: Array<{ prefixMatch?: string; fullPathMatch?: string; headerMatches?: HeaderMatch[] }>;
  service?: string;
  routeAction?: {
    weightedBackendServices?: Array<{ backendService: string; weight: number }>;
    timeout?: { seconds: string };
    retryPolicy?: { numRetries: number; retryConditions: string[] };
    faultInjectionPolicy?: { abort: { httpStatus: number; percentage: number } };
  };
  urlRedirect?: { pathRedirect: string; redirectResponseCode: string; stripQuery: boolean };
  headerAction?: { requestHeadersToRemoves: string[] };
}

export interface UrlMapTest {
  description: string;
  host: string;
  path: string;
  headers?: Array<{ name: string; value: string }>;
  service: string;
}

export interface UrlMap {
  defaultService: string;
  hostRules: Array<{ hosts: string[]; pathMatcher: string }>;
  pathMatchers: Array<{ name: string; defaultService: string; routeRules: RouteRule[] }>;
  tests: UrlMapTest[];
}

/**
 * The rules of a service: the token, each role by the version header, the weights, and a marker, which the load balancer
 * answers itself to whoever asks at {@link markerPath}. All in one object, so that none is ahead of the others; Google
 * Cloud takes it only when the tests in it pass.
 */
export function urlMap(args: UrlMapArgs): UrlMap {
  const { primary, canary } = args;
  return mapOf(
    args,
    [marker(args), ...byRole(args), forwarding(args, headers(args), split(primary, canary)), ...strangers(args)],
    [...testsOfRoles(args), ...testsOfTraffic(args)],
  );
}

/** The rules of the versions by their header, and nothing for requests without. */
export function versionsMap(args: UrlMapArgs): UrlMap {
  const none = refusing(args.refusal, 404, headers(args));
  return mapOf(args, [...byRole(args), none, ...strangers(args)], testsOfRoles(args));
}

type Rule = Omit<RouteRule, "priority">;

/** What no rule takes goes to a backend service that has nobody behind it. */
function mapOf({ refusal }: UrlMapArgs, rules: Rule[], tests: UrlMapTest[]): UrlMap {
  return {
    defaultService: refusal,
    hostRules: [{ hosts: ["*"], pathMatcher: "service" }],
    pathMatchers: [
      {
        name: "service",
        defaultService: refusal,
        routeRules: rules.map((rule, index) => ({ priority: index + 1, ...rule })),
      },
    ],
    tests,
  };
}

/** Requests without the token, after all that ask for it. */
function strangers({ refusal, queryAuthToken }: UrlMapArgs): Rule[] {
  return queryAuthToken === undefined ? [] : [refusing(refusal, 401, [])];
}

/** A URL map cannot give a text, but it can say where to look for one. */
function marker(args: UrlMapArgs): Rule {
  const { primary, canary } = args;
  const weights = markerWeights([primary, ...(canary === undefined ? [] : [canary])]);
  return {
    matchRules: [{ fullPathMatch: markerPath, ...matching(headers(args)) }],
    urlRedirect: { pathRedirect: `${markerPath}/${weights}`, redirectResponseCode: "FOUND", stripQuery: true },
  };
}

function byRole(args: UrlMapArgs): Rule[] {
  const { primary, canary, refusal } = args;
  return [
    forwarding(args, headers(args, "primary"), { service: primary.service }),
    canary === undefined
      ? refusing(refusal, 404, headers(args, "canary"))
      : forwarding(args, headers(args, "canary"), { service: canary.service }),
  ];
}

function headers({ queryAuthToken }: UrlMapArgs, role?: string): HeaderMatch[] {
  return [
    ...(queryAuthToken === undefined ? [] : [{ headerName: "Authorization", exactMatch: `Bearer ${queryAuthToken}` }]),
    ...(role === undefined ? [] : [{ headerName: versionHeader, exactMatch: role }]),
  ];
}

const matching = (headerMatches: HeaderMatch[]) => (headerMatches.length === 0 ? {} : { headerMatches });

type Destination = { service: string } | { weighted: Array<{ backendService: string; weight: number }> };

/** A plain service where all goes one way: weights are for what is shared. */
function split(primary: Weighted, canary: Weighted | undefined): Destination {
  const weighted = [primary, ...(canary === undefined ? [] : [canary])];
  const whole = weighted.find(({ weight }) => weight === 100);
  if (whole !== undefined) return { service: whole.service };
  return { weighted: weighted.map(({ service, weight }) => ({ backendService: service, weight })) };
}

function forwarding({ queryAuthToken }: UrlMapArgs, headerMatches: HeaderMatch[], destination: Destination): Rule {
  return {
    matchRules: [{ prefixMatch: "/", ...matching(headerMatches) }],
    ...("service" in destination ? { service: destination.service } : {}),
    routeAction: {
      ...("weighted" in destination ? { weightedBackendServices: destination.weighted } : {}),
      timeout: { seconds: String(REQUEST_SECONDS) },
      // Only what never reached a cluster: a request that was sent may have had its effect.
      retryPolicy: { numRetries: 3, retryConditions: ["connect-failure", "refused-stream"] },
    },
    // The token is the load balancer's; a cluster never sees it.
    ...(queryAuthToken === undefined ? {} : { headerAction: { requestHeadersToRemoves: ["Authorization"] } }),
  };
}

/** An answer of the load balancer's own. */
function refusing(service: string, httpStatus: number, headerMatches: HeaderMatch[]): Rule {
  return {
    matchRules: [{ prefixMatch: "/", ...matching(headerMatches) }],
    service,
    routeAction: { faultInjectionPolicy: { abort: { httpStatus, percentage: 100 } } },
  };
}

function asking(args: UrlMapArgs, role?: string): Pick<UrlMapTest, "host" | "path" | "headers"> {
  const given = headers(args, role).map(({ headerName, exactMatch }) => ({ name: headerName, value: exactMatch }));
  return { host: args.hostname, path: "/", ...(given.length === 0 ? {} : { headers: given }) };
}

function testsOfRoles(args: UrlMapArgs): UrlMapTest[] {
  const { primary, canary, refusal, queryAuthToken, hostname: host } = args;
  const bare = { host, path: "/", headers: [{ name: versionHeader, value: "primary" }] };
  return [
    { description: "the primary by its header", ...asking(args, "primary"), service: primary.service },
    { description: "the canary by its header", ...asking(args, "canary"), service: canary?.service ?? refusal },
    ...(queryAuthToken === undefined ? [] : [{ description: "a header without a token", ...bare, service: refusal }]),
  ];
}

/** Where weights decide, no test can tell. */
function testsOfTraffic(args: UrlMapArgs): UrlMapTest[] {
  const { primary, canary, refusal, queryAuthToken, hostname: host } = args;
  const whole = split(primary, canary);
  return [
    ...("service" in whole ? [{ description: "all traffic", ...asking(args), service: whole.service }] : []),
    ...(queryAuthToken === undefined ? [] : [{ description: "no token", host, path: "/", service: refusal }]),
  ];
}
