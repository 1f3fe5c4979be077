import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Api } from "./api";
import type { Folders } from "./binaries";
import type { ControlPlane } from "./controlPlane";
import type { Processes } from "./processes";
import { until } from "./until";

/** Where Envoy Gateway and the proxies that it makes live. */
export const GATEWAY_NAMESPACE = "envoy-gateway-system";
/** Envoy's own port for a listener on 80, in the bed's network. */
export const ENVOY_PORT = 10080;
/** The class that its gateways have. */
export const GATEWAY_CLASS = "envoy";

const CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller";
const START_SECONDS = 60;

/**
 * Starts Envoy Gateway, and a stand-in for the kubelet that runs Envoy where Envoy Gateway makes a proxy's Deployment: both
 * are the real programs, outside of pods.
 *
 * @param folder of the bed
 * @param envoy executable
 */
export async function startGateway(
  processes: Processes,
  plane: ControlPlane,
  folder: string,
  parts: Folders,
  envoy: string,
): Promise<void> {
  const { network, api, inner } = plane;
  const own = join(folder, "envoy-gateway");
  for (const each of ["certs", "tmp"]) mkdirSync(join(own, each), { recursive: true });
  await api.create("/api/v1/namespaces", { metadata: { name: GATEWAY_NAMESPACE } });
  await makeCertificates(processes, plane, parts);
  const { data } = await api.get(`/api/v1/namespaces/${GATEWAY_NAMESPACE}/secrets/envoy-gateway`);
  writeSecret(join(own, "certs"), data);
  // It knows its certificates by paths from the root: the bed's folder is its root.
  copyFileSync(programOf(parts), join(own, "envoy-gateway"));
  copyFileSync(inner, join(own, "kubeconfig"));
  writeFileSync(join(own, "config.yaml"), gatewayConfig());
  const inside = ["env", "KUBECONFIG=/kubeconfig", `ENVOY_GATEWAY_NAMESPACE=${GATEWAY_NAMESPACE}`, "HOME=/tmp"];
  processes.start("envoy-gateway", network.enter, [
    ...inside,
    "chroot",
    own,
    "/envoy-gateway",
    "server",
    "--config-path=/config.yaml",
  ]);
  processes.start("proxies", network.enter, [
    process.execPath,
    join(__dirname, "envoyPods.js"),
    inner,
    envoy,
    join(folder, "proxies"),
  ]);
  await declareClass(api);
  const path = `/apis/gateway.networking.k8s.io/v1/gatewayclasses/${GATEWAY_CLASS}`;
  await until(
    "Envoy Gateway",
    START_SECONDS,
    async () => {
      const { status } = await api.get(path);
      const conditions = (status?.conditions ?? []) as Array<{ type: string; status: string }>;
      return conditions.some((each) => each.type === "Accepted" && each.status === "True") || undefined;
    },
    processes,
  );
}

/** Makes the Secrets by which Envoy Gateway and its proxies know each other. */
export async function makeCertificates(
  processes: Processes,
  { network, inner }: ControlPlane,
  parts: Folders,
): Promise<void> {
  const environment = ["env", `KUBECONFIG=${inner}`, `ENVOY_GATEWAY_NAMESPACE=${GATEWAY_NAMESPACE}`];
  await processes.run("certificates", network.enter, [
    ...environment,
    programOf(parts),
    "certgen",
    "--disable-topology-injector",
  ]);
}

/**
 * Envoy Gateway's own configuration.
 *
 * @param kubernetes of its provider
 */
export function gatewayConfig(kubernetes?: object): string {
  return JSON.stringify({
    apiVersion: "gateway.envoyproxy.io/v1alpha1",
    kind: "EnvoyGateway",
    gateway: { controllerName: CONTROLLER },
    provider: { type: "Kubernetes", ...(kubernetes === undefined ? {} : { kubernetes }) },
  });
}

const programOf = (parts: Folders) => join(parts["envoy-gateway"]!, "envoy-gateway");

/** Files of a Secret's data. */
export function writeSecret(folder: string, data: Record<string, string>): void {
  for (const [name, value] of Object.entries(data)) {
    writeFileSync(join(folder, name), Buffer.from(value, "base64"), { mode: 0o600 });
  }
}

/**
 * Makes the class of gateways.
 *
 * @param pods what its proxies run as, beside a Service without an address of its own
 * @param others of what an EnvoyProxy specifies
 */
export async function declareClass(api: Api, pods: object = {}, others: object = {}): Promise<void> {
  await api.apply(`/apis/gateway.envoyproxy.io/v1alpha1/namespaces/${GATEWAY_NAMESPACE}/envoyproxies/bed`, {
    apiVersion: "gateway.envoyproxy.io/v1alpha1",
    kind: "EnvoyProxy",
    metadata: { name: "bed" },
    // Nobody here gives a Service of type LoadBalancer an address.
    spec: { provider: { type: "Kubernetes", kubernetes: { envoyService: { type: "ClusterIP" }, ...pods } }, ...others },
  });
  await api.apply(`/apis/gateway.networking.k8s.io/v1/gatewayclasses/${GATEWAY_CLASS}`, {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "GatewayClass",
    metadata: { name: GATEWAY_CLASS },
    spec: {
      controllerName: CONTROLLER,
      parametersRef: {
        group: "gateway.envoyproxy.io",
        kind: "EnvoyProxy",
        name: "bed",
        namespace: GATEWAY_NAMESPACE,
      },
    },
  });
}
