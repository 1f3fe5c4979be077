import type { RouteRule, UrlMap } from "../../../components/gcp/urlMap";

/** A URL map and a request, and what a global external application load balancer does with it by Google's reference. */

export interface UrlMapRequest {
  path: string;
  headers: Record<string, string | string[] | undefined>;
}

export type UrlMapAction = Omit<RouteRule, "priority" | "matchRules">;

/** What the first rule by priority does that takes the request, else the path matcher's own backend service. */
export function urlMapAction(map: UrlMap, request: UrlMapRequest): UrlMapAction {
  const matcher = map.pathMatchers.find(({ name }) => {
    return map.hostRules.some(({ hosts, pathMatcher }) => hosts.includes("*") && pathMatcher === name);
  });
  if (matcher === undefined) return { service: map.defaultService };
  const inOrder = [...matcher.routeRules].sort((a, b) => a.priority - b.priority);
  const rule = inOrder.find(({ matchRules }) => matchRules.some((each) => matches(each, request)));
  return rule ?? { service: matcher.defaultService };
}

/**
 * The backend service of an action. One whose machines do not answer gets its share all the same.
 *
 * @param at from 0 up to 1, by which one is taken
 */
export function chosenService({ service, routeAction }: UrlMapAction, at: number): string | undefined {
  const weighted = routeAction?.weightedBackendServices ?? [];
  let left = at * weighted.reduce((sum, { weight }) => sum + weight, 0);
  for (const { backendService, weight } of weighted) {
    if (left < weight) return backendService;
    left -= weight;
  }
  return service;
}

/** The map's own tests that fail: Google refuses a map with such. */
export function failedTests(map: UrlMap): string[] {
  return map.tests.flatMap(({ description, path, headers = [], service }) => {
    const given = Object.fromEntries(headers.map(({ name, value }) => [name.toLowerCase(), value]));
    const found = chosenService(urlMapAction(map, { path, headers: given }), 0);
    return found === service ? [] : [`${description}: expected ${service}, got ${found}`];
  });
}

/** All criteria of one match; a header's name is without regard to case, its value is not. */
function matches(
  { prefixMatch, fullPathMatch, headerMatches = [] }: RouteRule["matchRules"][number],
  { path, headers }: UrlMapRequest,
): boolean {
  if (prefixMatch !== undefined && !path.startsWith(prefixMatch)) return false;
  if (fullPathMatch !== undefined && path !== fullPathMatch) return false;
  return headerMatches.every(({ headerName, exactMatch }) => {
    return [headers[headerName.toLowerCase()] ?? []].flat().join(",") === exactMatch;
  });
}
