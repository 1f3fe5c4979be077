import { createHash } from "node:crypto";
import { markerHost, probeHeader, tokenHeader } from "../../provider/kubernetes/dataPlane";
import { serveServiceOf } from "../../provider/kubernetes/httpRoute";
import { metadataOfService } from "./names";
import { ports } from "./rayService";
import type { KubernetesSettings } from "./settings";

/** What the objects before the clusters are made of. */
export interface RouteArgs {
  /** Name of the service, and of its HTTPRoute. */
  service: string;
  /** `PROJECT/STACK` */
  stack: string;
  settings: KubernetesSettings;
}

export interface Weighted {
  /** Of the version's cluster. */
  version: string;
  /** Percent. */
  weight: number;
}

/** The header that chooses a version by its role, as Anyscale has it. */
export const versionHeader = "X-ANYSCALE-VERSION";

const GATEWAY_API = "gateway.networking.k8s.io";
const ENVOY = "gateway.envoyproxy.io";

const noCanary = (service: string) => `${service}-no-canary`;
/** Of the Secret with the query token. */
export const tokenSecretName = (service: string) => `${service}-query-token`;

/**
 * The route of a service: the versions by their weights, each role by the version header, and an answer for probes that
 * names this very state of the route. The marker is that name.
 */
export function httpRoute(
  { service, stack, settings }: RouteArgs,
  { primary, canary }: { primary: Weighted; canary?: Weighted | undefined },
) {
  const { gateway, hostname, namespace } = settings;
  const { labels, annotations } = metadataOfService(service, stack);
  const backend = ({ version }: Weighted) => ({ name: serveServiceOf(service, version), port: ports.serve });
  // Envoy ends a request after 15 s where nothing is said; a stream of tokens takes longer.
  const unhurried = gateway.implementation === "envoy" ? { timeouts: { request: "0s" } } : {};
  const byHeader = (name: string, value: string) => [
    { path: { type: "PathPrefix", value: "/" }, headers: [{ type: "Exact", name, value }] },
  ];
  const pinned = (role: string, version: Weighted) => ({
    matches: byHeader(versionHeader, role),
    backendRefs: [{ ...backend(version), weight: 1 }],
    ...unhurried,
  });
  const withoutCanary = {
    matches: byHeader(versionHeader, "canary"),
    filters: [
      { type: "ExtensionRef", extensionRef: { group: ENVOY, kind: "HTTPRouteFilter", name: noCanary(service) } },
    ],
  };
  const divided = {
    matches: [{ path: { type: "PathPrefix", value: "/" } }],
    backendRefs: [primary, ...(canary === undefined ? [] : [canary])].map((version) => ({
      ...backend(version),
      weight: version.weight,
    })),
    ...unhurried,
  };
  // A rule that names a header goes before one that does not, wherever they stand. But Envoy Gateway knows rules by their
  // place: one that moves has no backends for an instant, and requests fail. So those that all traffic takes never move.
  const rules = [
    divided,
    pinned("primary", primary),
    ...(canary === undefined ? [] : [pinned("canary", canary)]),
    ...(canary === undefined && gateway.implementation === "envoy" ? [withoutCanary] : []),
  ];
  const spec = {
    parentRefs: [
      {
        name: gateway.name,
        namespace: gateway.namespace ?? namespace,
        ...(gateway.listener === undefined ? {} : { sectionName: gateway.listener }),
      },
    ],
    ...(hostname === undefined ? {} : { hostnames: [hostname] }),
  };
  const marker = createHash("sha256")
    .update(JSON.stringify([spec, rules]))
    .digest("hex")
    .slice(0, 16);
  const probe = {
    matches: byHeader(probeHeader, marker),
    filters: [{ type: "RequestRedirect", requestRedirect: { hostname: markerHost(marker), statusCode: 302 } }],
  };
  return {
    marker,
    manifest: {
      apiVersion: `${GATEWAY_API}/v1`,
      kind: "HTTPRoute",
      metadata: {
        name: service,
        namespace,
        labels,
        // The weights are this program's whoever touched them last: an update puts them right and does not argue.
        annotations: { ...annotations, "pulumi.com/patchForce": "true" },
      },
      spec: { ...spec, rules: [...rules, probe] },
    },
  };
}

/** The gateway, where the config asks for one of its own; undefined where there is one. */
export function gateway({ service, stack, settings }: RouteArgs) {
  const { className, name, namespace = settings.namespace, port } = settings.gateway;
  if (className === undefined) return undefined;
  const from = namespace === settings.namespace ? "Same" : "All";
  return {
    apiVersion: `${GATEWAY_API}/v1`,
    kind: "Gateway",
    metadata: { name, namespace, ...metadataOfService(service, stack) },
    spec: {
      gatewayClassName: className,
      listeners: [
        { name: settings.gateway.listener ?? "http", port, protocol: "HTTP", allowedRoutes: { namespaces: { from } } },
      ],
    },
  };
}

/** The answer to a request that asks for a canary when there is none. */
export function noCanaryAnswer({ service, stack, settings }: RouteArgs) {
  return {
    apiVersion: `${ENVOY}/v1alpha1`,
    kind: "HTTPRouteFilter",
    metadata: { name: noCanary(service), namespace: settings.namespace, ...metadataOfService(service, stack) },
    spec: {
      directResponse: {
        statusCode: 404,
        contentType: "text/plain",
        body: { type: "Inline", inline: "This service has no canary version now.\n" },
      },
    },
  };
}

/** What asks for the query token. It is taken off a request before a cluster sees it. */
export function securityPolicy({ service, stack, settings }: RouteArgs) {
  return {
    apiVersion: `${ENVOY}/v1alpha1`,
    kind: "SecurityPolicy",
    metadata: { name: service, namespace: settings.namespace, ...metadataOfService(service, stack) },
    spec: {
      targetRefs: [{ group: GATEWAY_API, kind: "HTTPRoute", name: service }],
      apiKeyAuth: {
        credentialRefs: [{ group: "", kind: "Secret", name: tokenSecretName(service) }],
        extractFrom: [{ headers: ["Authorization", tokenHeader] }],
        sanitize: true,
      },
    },
  };
}

/** The Secret of the query token, without {@link tokenData}. */
export function tokenSecret({ service, stack, settings }: RouteArgs) {
  return {
    metadata: { name: tokenSecretName(service), namespace: settings.namespace, ...metadataOfService(service, stack) },
    type: "Opaque",
  };
}

/** The token as a header has it with and without its scheme, in base64. */
export function tokenData(token: string): Record<string, string> {
  const encoded = (text: string) => Buffer.from(text).toString("base64");
  return { token: encoded(token), bearer: encoded(`Bearer ${token}`) };
}
