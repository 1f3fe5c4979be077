import type { httpRoute, securityPolicy } from "../../components/kubernetes/route";
import type { Outcome, RoutedRequest } from "./requests";

/** An HTTPRoute and its SecurityPolicy, and what they make of a request by the Gateway API's and Envoy Gateway's reference. */

interface Rule {
  matches: Array<{
    path?: { type: string; value: string };
    headers?: Array<{ type: string; name: string; value: string }>;
  }>;
  backendRefs?: Array<{ name: string; weight?: number }>;
}

export interface GatewayObjects {
  route: ReturnType<typeof httpRoute>["manifest"];
  /** Absent: no token is asked for. */
  policy?: ReturnType<typeof securityPolicy>;
  /** The keys of the policy's secret, decoded. */
  keys: string[];
}

/** Percent by the backends' names, or the status of an answer of the gateway itself. */
export function routeOutcome({ route, policy, keys }: GatewayObjects, request: RoutedRequest): Outcome {
  const headers = new Map(Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value]));
  if (policy !== undefined) {
    const names = policy.spec.apiKeyAuth.extractFrom.flatMap((each) => each.headers);
    const given = names.map((name) => headers.get(name.toLowerCase())).find((value) => value !== undefined);
    if (given === undefined || !keys.includes(given)) return 401;
  }
  const rules = route.spec.rules as Rule[];
  const taking = rules.flatMap(({ matches, backendRefs }) =>
    matches
      .filter(({ path, headers: wanted = [] }) => {
        const onPath = path === undefined || request.path.startsWith(path.value);
        return onPath && wanted.every(({ name, value }) => headers.get(name.toLowerCase()) === value);
      })
      .map((match) => ({ specific: (match.headers ?? []).length, backendRefs })),
  );
  // The one with the most headers, and of those the first.
  const [best] = [...taking].sort((a, b) => b.specific - a.specific);
  // What has no backends answers by a filter: there the answer to a canary that is none.
  if (best?.backendRefs === undefined) return 404;
  const total = best.backendRefs.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const shares = best.backendRefs.map(({ name, weight = 1 }) => [name, (100 * weight) / total] as const);
  return Object.fromEntries(shares.filter(([, percent]) => percent > 0));
}
