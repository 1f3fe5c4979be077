import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Api } from "./api";
import type { Folders } from "./binaries";
import type { ControlPlane } from "./controlPlane";
import type { Processes } from "./processes";
import { until } from "./until";

/** Where Envoy Gateway and the proxies that it makes live. */
export const GATEWAY_NAMESPACE = "envoy-gateway-system";
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
  { network, api, inner }: ControlPlane,
  folder: string,
  parts: Folders,
  envoy: string,
): Promise<void> {
  const program = join(parts["envoy-gateway"]!, "envoy-gateway");
  const own = join(folder, "envoy-gateway");
  for (const each of ["certs", "tmp"]) mkdirSync(join(own, each), { recursive: true });
  await api.create("/api/v1/namespaces", { metadata: { name: GATEWAY_NAMESPACE } });
  const environment = ["env", `KUBECONFIG=${inner}`, `ENVOY_GATEWAY_NAMESPACE=${GATEWAY_NAMESPACE}`];
  await processes.run("certificates", network.enter, [
    ...environment,
    program,
    "certgen",
    "--disable-topology-injector",
  ]);
  const { data } = await api.get(`/api/v1/namespaces/${GATEWAY_NAMESPACE}/secrets/envoy-gateway`);
  writeSecret(join(own, "certs"), data);
  // It knows its certificates by paths from the root: the bed's folder is its root.
  copyFileSync(program, join(own, "envoy-gateway"));
  copyFileSync(inner, join(own, "kubeconfig"));
  const config = {
    apiVersion: "gateway.envoyproxy.io/v1alpha1",
    kind: "EnvoyGateway",
    gateway: { controllerName: CONTROLLER },
    provider: { type: "Kubernetes" },
  };
  writeFileSync(join(own, "config.yaml"), JSON.stringify(config));
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

/** Files of a Secret's data. */
export function writeSecret(folder: string, data: Record<string, string>): void {
  for (const [name, value] of Object.entries(data)) {
    writeFileSync(join(folder, name), Buffer.from(value, "base64"), { mode: 0o600 });
  }
}

async function declareClass(api: Api): Promise<void> {
  await api.apply(`/apis/gateway.envoyproxy.io/v1alpha1/namespaces/${GATEWAY_NAMESPACE}/envoyproxies/bed`, {
    apiVersion: "gateway.envoyproxy.io/v1alpha1",
    kind: "EnvoyProxy",
    metadata: { name: "bed" },
    // Nobody here gives a Service of type LoadBalancer an address.
    spec: { provider: { type: "Kubernetes", kubernetes: { envoyService: { type: "ClusterIP" } } } },
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
