import { isDeepStrictEqual } from "node:util";
import type { OperationContext, ResourceType } from "../resource";
import type { ApiServerAddress } from "../serve/dashboard";
import type { HttpRouteAddress } from "../serve/guards";
import { untilRight } from "../serve/untilRight";
import { checkSeconds, checkWeights } from "../serve/weights";
import { getObject } from "./api";
import { addressProbe, type Gateway, type Probe, podProbes } from "./dataPlane";
import { getRoute, nameOf, notAccepted, requireRoute, sharesOf } from "./httpRoute";

export interface GatewayAddress extends ApiServerAddress {
  name: string;
  /** Of the listener; absent: the gateway's first one. */
  listener?: string;
  /** Where Envoy Gateway runs the pods of its gateways. */
  podsNamespace: string;
}

export interface RoutedInputs {
  gateway: GatewayAddress;
  route: HttpRouteAddress;
  /** Names this state of the route to whoever probes the data plane. */
  marker: string;
  /** By version, in percent. */
  backends: Array<{ version: string; weight: number }>;
  /** Of the requests; absent: any. */
  hostname?: string;
  /** Secret: a probe needs it as any request does. */
  queryAuthToken?: string;
  timeoutSeconds: number;
}

export interface RoutedState extends RoutedInputs {
  url: string;
}

const POLL_MS = 200;
/** So many answers in a row by the right route at one address before all that stand behind it count as asked. */
const ANSWERS_AT_ADDRESS = 10;

/**
 * `rayserve:kubernetes:Routed`: stands after the route. Its controller has accepted it as it is now, and the data plane
 * does it: every process of the gateway answers a probe by the route of this very state, weights and all.
 */
export const routed: ResourceType<RoutedInputs, RoutedState> = {
  secrets: ["queryAuthToken"],
  check: ({ backends, timeoutSeconds }) => [...checkWeights(backends), ...checkSeconds({ timeoutSeconds })],
  diff(state, inputs) {
    const { url: _, queryAuthToken: _before, timeoutSeconds: _a, ...was } = state;
    const { queryAuthToken: _after, timeoutSeconds: _b, ...is } = inputs;
    const changes = !isDeepStrictEqual(plain(was), plain(is)) || state.queryAuthToken !== inputs.queryAuthToken;
    return { changes };
  },
  async create(inputs, context) {
    return { id: context.name, state: { ...inputs, url: await inEffect(inputs, context) } };
  },
  async read(_id, state, { signal }) {
    const route = await getRoute(state.route, signal);
    if (route === undefined) return undefined;
    const weights = sharesOf(state.route, route);
    const backends = Object.entries(weights).map(([version, { weight }]) => ({ version, weight }));
    return { ...state, backends };
  },
  async update(_id, _state, inputs, context) {
    return { ...inputs, url: await inEffect(inputs, context) };
  },
  delete: async () => {},
};

/** Waits until the route is in effect and gives the service's URL; says what stands in the way when the time is over. */
async function inEffect(inputs: RoutedInputs, context: OperationContext): Promise<string> {
  const { timeoutSeconds, route } = inputs;
  let url = "";
  await untilRight(
    { timeoutSeconds, pollMs: POLL_MS },
    context,
    async () => {
      const look = await lookAt(inputs, context.signal);
      if ("problem" in look) return look.problem;
      url = look.url;
      return undefined;
    },
    (problem) =>
      `${nameOf(route)} was written but is not in effect after ${timeoutSeconds} s: ${problem}. No cluster was ` +
      `shrunk. See: kubectl -n ${route.namespace} describe httproute ${route.name}`,
  );
  return url;
}

async function lookAt(inputs: RoutedInputs, signal: AbortSignal): Promise<{ url: string } | { problem: string }> {
  const { gateway: address, route: routeAddress, backends } = inputs;
  const path = `/apis/gateway.networking.k8s.io/v1/namespaces/${address.namespace}/gateways/${address.name}`;
  const gateway = await getObject<Gateway>(address, path, signal);
  if (gateway === undefined) return { problem: `there is no Gateway ${address.namespace}/${address.name}` };
  const idle = notProgrammed(gateway);
  if (idle !== undefined) return { problem: idle };
  const route = await requireRoute(routeAddress, signal);
  const refused = notAccepted(route);
  if (refused !== undefined) return { problem: refused };
  const weights = Object.entries(sharesOf(routeAddress, route)).map(
    ([version, { weight }]) => [version, weight] as const,
  );
  const wrong =
    weights.length !== backends.length ||
    !backends.every(({ version, weight }) => {
      return weights.some(([name, has]) => name === version && has === weight);
    });
  if (wrong) {
    return {
      problem: `somebody changed its weights, they are ${weights.map(([name, has]) => `${name} ${has}`).join(", ")}`,
    };
  }
  return probed(inputs, gateway, signal);
}

async function probed(
  { gateway: address, hostname, marker, queryAuthToken }: RoutedInputs,
  gateway: Gateway,
  signal: AbortSignal,
): Promise<{ url: string } | { problem: string }> {
  const { listeners } = gateway.spec;
  const listener = listeners.find(({ name }) => name === address.listener) ?? listeners[0];
  const value = gateway.status?.addresses?.[0]?.value;
  if (listener === undefined || value === undefined) return { problem: `Gateway ${address.name} has no address yet` };
  const url = urlOf(listener, value);
  const shown = hostname === undefined ? url : urlOf(listener, hostname);
  // The API server chooses the host that a pod is asked for.
  const plain = hostname === undefined && listener.protocol === "HTTP";
  const pods = plain ? await podProbes(address, gateway, address.podsNamespace, listener.port, signal) : [];
  const probes: Probe[] = pods.length > 0 ? pods : Array(ANSWERS_AT_ADDRESS).fill(addressProbe(url, hostname));
  for (const probe of probes) {
    const problem = await probe.ask(marker, queryAuthToken, signal);
    if (problem !== undefined) {
      return { problem: `the data plane does not answer by the new route at ${probe.name}: ${problem}` };
    }
  }
  return { url: shown };
}

function notProgrammed({ metadata, status }: Gateway): string | undefined {
  for (const type of ["Accepted", "Programmed"]) {
    const condition = status?.conditions?.find((each) => each.type === type);
    if (condition === undefined || (condition.observedGeneration ?? 0) < (metadata.generation ?? 0)) {
      return `the controller of Gateway ${metadata.name} has not looked at it yet: does it run, and is its class right?`;
    }
    if (condition.status !== "True") {
      return `Gateway ${metadata.name}: ${condition.reason ?? type}: ${condition.message ?? "not in effect"}`;
    }
  }
  return undefined;
}

function urlOf({ port, protocol }: { port: number; protocol: string }, host: string): string {
  const scheme = protocol === "HTTPS" ? "https" : "http";
  const usual = port === (scheme === "https" ? 443 : 80);
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}${usual ? "" : `:${port}`}`;
}

/** Whatever the order of keys and of versions. */
function plain(value: object): unknown {
  const { backends = [], ...rest } = JSON.parse(JSON.stringify(value)) as Partial<RoutedInputs>;
  return [rest, [...backends].sort((a, b) => (a.version < b.version ? -1 : 1))];
}
