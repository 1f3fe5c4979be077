import type { Api, KubernetesObject } from "../api";
import type { Folders } from "../binaries";
import type { ControlPlane } from "../controlPlane";
import { declareClass, GATEWAY_NAMESPACE, gatewayConfig, makeCertificates } from "../gateway";
import type { Processes } from "../processes";
import { until } from "../until";
import { SYSTEM_IMAGE } from "./images";
import { DNS_ADDRESS, DNS_DOMAIN, isReady } from "./machine";

const SYSTEM = "kube-system";
const OPERATOR_NAMESPACE = "ray-system";
const READY_SECONDS = 180;

interface Program {
  namespace: string;
  name: string;
  labels?: Record<string, string>;
  /** In the system image, with its arguments. */
  command: string[];
  /** HTTP, on which it says whether it is ready. */
  ready: { path: string; port: number };
  /** Files by folder. */
  files?: Record<string, object>;
  environment?: Array<Record<string, unknown>>;
  /** As root: what listens on a port below 1024. */
  root?: boolean;
  /** Its service's ports; none without. */
  ports?: Array<Record<string, unknown>>;
  address?: string;
}

/** Envoy's administration, that of a pod alone by default, for whoever watches what Envoy really does. */
export const ENVOY_ADMIN_PORT = 19000;
const adminForAll = { op: "replace", path: "/admin/address/socket_address/address", value: "0.0.0.0" };

const corefile = `.:53 {
  errors
  health
  ready
  kubernetes ${DNS_DOMAIN} in-addr.arpa {
    pods insecure
    ttl 2
  }
  cache 2
}
`;

/**
 * Runs CoreDNS, KubeRay's operator and Envoy Gateway as pods, each with all rights in the cluster: it is not proven that
 * those of their own charts are enough.
 */
export async function startSystemPods(processes: Processes, plane: ControlPlane, folders: Folders): Promise<void> {
  const { api } = plane;
  for (const namespace of [OPERATOR_NAMESPACE, GATEWAY_NAMESPACE]) {
    await api.create("/api/v1/namespaces", { metadata: { name: namespace } });
  }
  await api.apply(`/api/v1/namespaces/${SYSTEM}/configmaps/coredns`, configMap("coredns", { Corefile: corefile }));
  await run(api, {
    namespace: SYSTEM,
    name: "coredns",
    command: ["coredns", "-conf", "/etc/coredns/Corefile"],
    ready: { path: "/ready", port: 8181 },
    files: { "/etc/coredns": { configMap: { name: "coredns" } } },
    root: true,
    ports: [
      { name: "dns", port: 53, protocol: "UDP" },
      { name: "dns-tcp", port: 53, protocol: "TCP" },
    ],
    address: DNS_ADDRESS,
  });
  await run(api, {
    namespace: OPERATOR_NAMESPACE,
    name: "kuberay-operator",
    labels: { "app.kubernetes.io/name": "kuberay-operator" },
    command: ["kuberay-operator", "--enable-leader-election=false", "--log-stdout-encoder=console"],
    ready: { path: "/healthz", port: 8082 },
  });
  await makeCertificates(processes, plane, folders);
  await api.apply(
    `/api/v1/namespaces/${GATEWAY_NAMESPACE}/configmaps/config`,
    configMap("config", { "config.yaml": gatewayConfig({ shutdownManager: { image: SYSTEM_IMAGE } }) }),
  );
  await run(api, {
    namespace: GATEWAY_NAMESPACE,
    name: "envoy-gateway",
    labels: { "control-plane": "envoy-gateway" },
    command: ["envoy-gateway", "server", "--config-path=/config/config.yaml"],
    ready: { path: "/readyz", port: 8081 },
    files: {
      "/config": { configMap: { name: "config" } },
      "/certs": { secret: { secretName: "envoy-gateway" } },
      "/var/lib/eg/wasm": { emptyDir: {} },
    },
    environment: [
      { name: "ENVOY_GATEWAY_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
      { name: "KUBERNETES_CLUSTER_DOMAIN", value: DNS_DOMAIN },
    ],
    ports: [
      { name: "grpc", port: 18000 },
      { name: "wasm", port: 18002 },
    ],
  });
  const resources = { requests: { cpu: "50m", memory: "128Mi" } };
  await declareClass(
    api,
    { envoyDeployment: { container: { image: SYSTEM_IMAGE, resources } } },
    { bootstrap: { type: "JSONPatch", jsonPatches: [adminForAll] } },
  );
  for (const [namespace, name] of [
    [SYSTEM, "coredns"],
    [OPERATOR_NAMESPACE, "kuberay-operator"],
    [GATEWAY_NAMESPACE, "envoy-gateway"],
  ] as const) {
    await isAvailable(api, namespace, name, processes);
  }
}

/** Ends the pod of KubeRay's operator at once, and waits until another one is ready. */
export async function restartOperatorPod(api: Api): Promise<void> {
  const path = `/api/v1/namespaces/${OPERATOR_NAMESPACE}/pods`;
  const before = (await api.get<{ items: KubernetesObject[] }>(path)).items.map(({ metadata }) => metadata.name);
  for (const name of before) await api.delete(`${path}/${name}?gracePeriodSeconds=0`);
  await until("another operator", READY_SECONDS, async () => {
    const { items } = await api.get<{ items: KubernetesObject[] }>(path);
    return items.some((pod) => !before.includes(pod.metadata.name) && isReady(pod)) || undefined;
  });
}

/** Gives KubeRay's operator one more argument, and waits until only one with it runs. */
export async function addOperatorArgument(api: Api, argument: string): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${OPERATOR_NAMESPACE}/deployments/kuberay-operator`;
  await api.patch(path, [{ op: "add", path: "/spec/template/spec/containers/0/command/-", value: argument }]);
  await until("the operator with its argument", READY_SECONDS, async () => {
    const { metadata, status } = await api.get(path);
    const { observedGeneration, updatedReplicas, availableReplicas, replicas } = status;
    const all = [updatedReplicas, availableReplicas, replicas].every((count) => count === 1);
    return (observedGeneration === metadata.generation && all) || undefined;
  });
}

async function run(api: Api, program: Program): Promise<void> {
  const { namespace, name, labels = {}, command, ready, files = {}, environment = [], root = false } = program;
  const within = (group: string, plural: string) => `${group}/namespaces/${namespace}/${plural}/${name}`;
  const own = { ...labels, "bed/program": name };
  await api.apply(within("/api/v1", "serviceaccounts"), {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name },
  });
  await api.apply(`/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/bed-${name}`, {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: `bed-${name}` },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "ServiceAccount", name, namespace }],
  });
  if (program.ports !== undefined) {
    await api.apply(within("/api/v1", "services"), {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, labels: own },
      spec: {
        selector: own,
        ports: program.ports,
        ...(program.address === undefined ? {} : { clusterIP: program.address }),
      },
    });
  }
  const mounts = Object.entries(files).map(([mountPath, source], index) => ({
    mountPath,
    name: `files-${index}`,
    source,
  }));
  await api.apply(within("/apis/apps/v1", "deployments"), {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, labels: own },
    spec: {
      replicas: 1,
      selector: { matchLabels: own },
      template: {
        metadata: { labels: own },
        spec: {
          serviceAccountName: name,
          terminationGracePeriodSeconds: 1,
          ...(root ? { securityContext: { runAsUser: 0 } } : {}),
          containers: [
            {
              name,
              image: SYSTEM_IMAGE,
              imagePullPolicy: "Never",
              command: [`/usr/local/bin/${command[0]}`, ...command.slice(1)],
              env: environment,
              readinessProbe: { httpGet: ready, periodSeconds: 1 },
              volumeMounts: mounts.map(({ mountPath, name: volume }) => ({ mountPath, name: volume })),
            },
          ],
          volumes: mounts.map(({ name: volume, source }) => ({ name: volume, ...source })),
        },
      },
    },
  });
}

function configMap(name: string, data: Record<string, string>): KubernetesObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

async function isAvailable(api: Api, namespace: string, name: string, processes: Processes): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
  await until(
    `${name}, available`,
    READY_SECONDS,
    async () => (((await api.get(path)).status?.availableReplicas ?? 0) > 0 ? true : undefined),
    processes,
  );
}
