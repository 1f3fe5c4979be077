import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { within } from "../within";
import { type ApiServer, ask, isStatus, type KubernetesObject, listObjects, messageOf } from "./api";

/** Exact request header of a probe; its value is the route's marker. */
export const probeHeader = "X-Rayshift-Probe";
/** Takes the service's token too: the API server keeps the Authorization header of a request for itself. */
export const tokenHeader = "X-Rayshift-Authorization";

/** Where a marker's redirect leads: nowhere, but the answer names the route that gave it. */
export function markerHost(marker: string): string {
  return `${marker}.rayshift.invalid`;
}

export interface Gateway extends KubernetesObject {
  spec: { listeners: Array<{ name: string; port: number; protocol: string }> };
  status?: {
    addresses?: Array<{ type?: string; value: string }>;
    conditions?: Array<{
      type: string;
      status: string;
      reason?: string;
      message?: string;
      observedGeneration?: number;
    }>;
  };
}

/** One process of the data plane, or the address before them all. */
export interface Probe {
  /** For messages. */
  name: string;
  /** Undefined: it answers by that marker's route. Else what it answers. */
  ask(marker: string, token: string | undefined, signal: AbortSignal): Promise<string | undefined>;
}

interface Service extends KubernetesObject {
  spec: { ports?: Array<{ port: number; name?: string }> };
}

interface EndpointSlice extends KubernetesObject {
  ports?: Array<{ name?: string; port?: number }> | null;
  endpoints?: Array<{ targetRef?: { kind?: string; name?: string }; conditions?: { ready?: boolean } }> | null;
}

const PROBE_TIMEOUT_MS = 5000;

/**
 * The pods that serve a gateway, each of them, through the API server; found by the label that the Gateway API asks of
 * implementations that run in the cluster, or by Envoy Gateway's. None where it runs elsewhere.
 */
export async function podProbes(
  server: ApiServer,
  gateway: Gateway,
  podsNamespace: string,
  port: number,
  signal: AbortSignal,
): Promise<Probe[]> {
  const { name, namespace = "" } = gateway.metadata;
  const selectors: Array<[namespace: string, selector: string]> = [
    [namespace, `gateway.networking.k8s.io/gateway-name=${name}`],
    [
      podsNamespace,
      `gateway.envoyproxy.io/owning-gateway-name=${name},gateway.envoyproxy.io/owning-gateway-namespace=${namespace}`,
    ],
  ];
  for (const [where, selector] of selectors) {
    const path = `/api/v1/namespaces/${where}/services?labelSelector=${encodeURIComponent(selector)}`;
    const services = await listObjects<Service>(server, path, signal);
    const found = await Promise.all(services.map((service) => podsBehind(server, where, service, port, signal)));
    if (found.flat().length > 0) return found.flat();
  }
  return [];
}

async function podsBehind(
  server: ApiServer,
  namespace: string,
  { metadata, spec }: Service,
  listener: number,
  signal: AbortSignal,
): Promise<Probe[]> {
  const port = (spec.ports ?? []).find((each) => each.port === listener);
  if (port === undefined) return [];
  const selector = encodeURIComponent(`kubernetes.io/service-name=${metadata.name}`);
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${selector}`;
  const slices = await listObjects<EndpointSlice>(server, path, signal);
  return slices.flatMap(({ ports, endpoints }) => {
    const target = (ports ?? []).find(({ name = "" }) => name === (port.name ?? ""))?.port;
    const pods = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
    return pods.flatMap(({ targetRef }): Probe[] => {
      if (target === undefined || targetRef?.kind !== "Pod" || targetRef.name === undefined) return [];
      return [
        podProbe(server, `/api/v1/namespaces/${namespace}/pods/${targetRef.name}:${target}/proxy/`, targetRef.name),
      ];
    });
  });
}

function podProbe(server: ApiServer, path: string, pod: string): Probe {
  return {
    name: `pod ${pod}`,
    async ask(marker, token, signal) {
      const answer = await ask(server, path, {
        headers: probeHeaders(marker, token),
        timeoutMs: PROBE_TIMEOUT_MS,
        signal,
      });
      if (answer.status === 403 && isStatus(answer.text)) {
        throw new Error(
          `the gateway's pods cannot be asked for their routes: ${messageOf(answer.text)}. Give the account pods/proxy in ` +
            "their namespace (docs/kubernetes.md has the Role).",
        );
      }
      return judged(marker, answer.status, answer.headers.location);
    },
  };
}

/** The address of the gateway itself; whoever of the data plane answers there. */
export function addressProbe(url: string, hostname: string | undefined): Probe {
  return {
    name: url,
    ask: (marker, token, signal) =>
      new Promise((resolve) => {
        const target = new URL(url);
        const request = target.protocol === "https:" ? requestHttps : requestHttp;
        const sent = request(target, {
          agent: false,
          headers: { ...probeHeaders(marker, token), ...(hostname === undefined ? {} : { host: hostname }) },
          // The certificate is the service's, not the address's; the token goes to nobody else.
          ...(hostname === undefined ? {} : { servername: hostname }),
          signal: within(PROBE_TIMEOUT_MS, signal),
        });
        sent.on("error", (error) => resolve(error.message));
        sent.on("response", (response) => {
          response.resume();
          resolve(judged(marker, response.statusCode ?? 0, response.headers.location));
        });
        sent.end();
      }),
  };
}

function probeHeaders(marker: string, token: string | undefined): Record<string, string> {
  return { [probeHeader]: marker, ...(token === undefined ? {} : { [tokenHeader]: `Bearer ${token}` }) };
}

function judged(marker: string, status: number, location: string | string[] | undefined): string | undefined {
  if (status === 302 && String(location).includes(markerHost(marker))) return undefined;
  return status === 302 ? `it redirects to ${location}` : `it answers ${status}`;
}
