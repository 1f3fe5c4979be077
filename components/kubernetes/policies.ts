import { labelPrefix, labelsOf, metadataOfService } from "./names";
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
    metadata: { name: service, namespace: settings.namespace, ...metadataOfService(service, stack) },
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

/**
 * No eviction takes the head, with which the whole cluster would go. KubeRay's clusters have no scale for a budget to count
 * by, so it can only be a number of pods; that of the workers is the autoscaler's.
 */
export function headBudget(name: string, { service, stack, settings }: RouteArgs) {
  return {
    metadata: { name: `${name}-head`, namespace: settings.namespace, labels: labelsOf(service, stack, name) },
    spec: {
      minAvailable: 1,
      selector: { matchLabels: { [`${labelPrefix}/cluster`]: name, "ray.io/node-type": "head" } },
    },
  };
}
