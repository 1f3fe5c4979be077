import { setTimeout as sleep } from "node:timers/promises";
import { effect } from "../effects";
import type { HttpRouteAddress, Share } from "../serve/guards";
import { ask, getObject, type KubernetesObject, messageOf } from "./api";

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  observedGeneration?: number;
}

interface Rule {
  matches?: Array<{ headers?: Array<{ name: string; value: string }> }>;
  backendRefs?: Array<{ name: string; weight?: number }>;
}

/** The part of an HTTPRoute that is read. */
export interface HttpRoute extends KubernetesObject {
  spec: { rules?: Rule[] };
  status?: { parents?: Array<{ parentRef: { name: string; namespace?: string }; conditions?: Condition[] }> };
}

const ACCEPTED_WITHIN_MS = 10_000;
const POLL_MS = 200;

/** The service that a version's cluster answers at, which KubeRay makes for a RayService. */
export function serveServiceOf(service: string, version: string): string {
  return `${service}-${version}-serve-svc`;
}

/**
 * The weights of a route, once the gateway's controller has accepted them; by version.
 *
 * @throws Error when there is no such route, or its gateway does not accept it
 */
export async function readRouteWeights(
  address: HttpRouteAddress,
  signal?: AbortSignal,
): Promise<Record<string, Share>> {
  for (const end = Date.now() + ACCEPTED_WITHIN_MS; ; await sleep(POLL_MS, undefined, signal && { signal })) {
    const route = await requireRoute(address, signal);
    const problem = notAccepted(route);
    if (problem === undefined) return sharesOf(address, route);
    if (Date.now() >= end) throw new Error(`${nameOf(address)} is not in effect: ${problem}`);
  }
}

/** The weights that a route asks for, by version. */
export function sharesOf({ service }: HttpRouteAddress, route: HttpRoute): Record<string, Share> {
  const since = changedAt(route);
  const refs = route.spec.rules?.[trafficRule(route)]?.backendRefs ?? [];
  return Object.fromEntries(refs.map(({ name, weight = 1 }) => [versionOf(service, name), { weight, since }] as const));
}

export async function requireRoute(address: HttpRouteAddress, signal?: AbortSignal): Promise<HttpRoute> {
  const route = await getRoute(address, signal);
  if (route === undefined) throw new Error(`there is no ${nameOf(address)}`);
  return route;
}

/** Undefined where there is none. */
export function getRoute(address: HttpRouteAddress, signal?: AbortSignal): Promise<HttpRoute | undefined> {
  return getObject<HttpRoute>(address, pathOf(address), signal);
}

/** Why the route is not in effect as it stands, in the words of the gateway's controller; undefined when it is. */
export function notAccepted({ metadata, status }: HttpRoute): string | undefined {
  const parents = status?.parents ?? [];
  if (parents.length === 0) return "no gateway's controller has taken it up";
  for (const type of ["Accepted", "ResolvedRefs"]) {
    for (const { conditions = [], parentRef } of parents) {
      const condition = conditions.find((each) => each.type === type);
      const gateway = `gateway ${parentRef.name}`;
      if (condition === undefined || (condition.observedGeneration ?? 0) < (metadata.generation ?? 0)) {
        return `the controller of ${gateway} has not looked at it yet`;
      }
      if (condition.status !== "True")
        return `${gateway}: ${condition.reason ?? type}${condition.message === undefined ? "" : `: ${condition.message}`}`;
    }
  }
  return undefined;
}

/**
 * Sends all requests to one version. Weights alone are changed, and only if the route is as it was read.
 *
 * @throws Error when that cannot be done
 */
export async function moveAllTraffic(address: HttpRouteAddress, to: string, signal?: AbortSignal): Promise<void> {
  const route = await requireRoute(address, signal);
  const rule = trafficRule(route);
  const refs = route.spec.rules?.[rule]?.backendRefs ?? [];
  if (!refs.some(({ name }) => versionOf(address.service, name) === to)) {
    throw new Error(`version ${to} is not a backend of ${nameOf(address)}`);
  }
  const patch = [
    { op: "test", path: "/metadata/uid", value: route.metadata.uid },
    ...refs.flatMap(({ name }, index) => {
      const path = `/spec/rules/${rule}/backendRefs/${index}`;
      const weight = versionOf(address.service, name) === to ? 100 : 0;
      return [
        { op: "test", path: `${path}/name`, value: name },
        { op: "add", path: `${path}/weight`, value: weight },
      ];
    }),
  ];
  await effect("move all traffic", `${nameOf(address)} to ${to}`, async () => {
    const answer = await ask(address, `${pathOf(address)}?fieldManager=rayshift-withdraw`, {
      method: "PATCH",
      headers: { "content-type": "application/json-patch+json" },
      body: JSON.stringify(patch),
      signal,
    });
    if (answer.status >= 300) throw new Error(`${nameOf(address)}: ${messageOf(answer.text)} (${answer.status})`);
  });
}

/** The one rule that asks for no header. */
function trafficRule({ spec }: HttpRoute): number {
  return (spec.rules ?? []).findIndex(({ matches = [] }) => matches.every(({ headers = [] }) => headers.length === 0));
}

function versionOf(service: string, backend: string): string {
  return backend.replace(new RegExp(`^${service}-`), "").replace(/-serve-svc$/, "");
}

/** When somebody last changed the route itself, ms; what its controllers write into its status does not count. */
function changedAt({ metadata }: HttpRoute): number {
  const times = (metadata.managedFields ?? [])
    .filter(({ subresource }) => subresource === undefined)
    .map(({ time }) => Date.parse(time ?? ""));
  return Math.max(0, ...times.filter((time) => !Number.isNaN(time)));
}

export const nameOf = ({ namespace, name }: HttpRouteAddress) => `HTTPRoute ${namespace}/${name}`;

const pathOf = ({ namespace, name }: HttpRouteAddress) =>
  `/apis/gateway.networking.k8s.io/v1/namespaces/${namespace}/httproutes/${name}`;
