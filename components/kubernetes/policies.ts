import { labelPrefix, labelsOf } from "./names";
import { ports } from "./rayService";
import type { RouteArgs } from "./route";

/**
 * Lets nobody but the gateway's pods send requests to the service's pods. The dashboard stays open to the API server, whose
 * address no policy can name; Ray's token guards it. KubeRay asks a head's proxy whether it serves.
 */
export function networkPolicy({ service, stack, settings }: RouteArgs) {
  const inNamespace = (name: string) => ({
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } },
  });
  const operator = { matchLabels: { "app.kubernetes.io/name": "kuberay-operator" } };
  return {
    metadata: { name: service, namespace: settings.namespace, labels: labelsOf(service, stack) },
    spec: {
      podSelector: { matchLabels: { [`${labelPrefix}/service`]: service } },
      policyTypes: ["Ingress"],
      ingress: [
        { from: [{ podSelector: { matchLabels: { [`${labelPrefix}/service`]: service } } }] },
        { from: [inNamespace(settings.gateway.podsNamespace)], ports: [{ port: ports.serve, protocol: "TCP" }] },
        {
          from: [{ namespaceSelector: {}, podSelector: operator }],
          ports: [{ port: ports.serve, protocol: "TCP" }],
        },
        { ports: [{ port: ports.dashboard, protocol: "TCP" }] },
      ],
    },
  };
}

/** No eviction takes the head, with which the whole cluster would go, and none takes two workers at a time. */
export function disruptionBudgets(name: string, { service, stack, settings }: RouteArgs) {
  const budget = (part: string, type: string, maxUnavailable: number) => ({
    metadata: { name: `${name}-${part}`, namespace: settings.namespace, labels: labelsOf(service, stack, name) },
    spec: {
      maxUnavailable,
      selector: { matchLabels: { [`${labelPrefix}/cluster`]: name, "ray.io/node-type": type } },
    },
  });
  return { head: budget("head", "head", 0), workers: budget("workers", "worker", 1) };
}
