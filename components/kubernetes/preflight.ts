import { ApiServerRefused, ApiServerUnreachable, getObject } from "../../provider/kubernetes/api";
import { InvalidInput, type Problem } from "../problems";
import type { RolloutRecord, Version } from "../record";
import type { KubernetesSettings } from "./settings";

interface Group {
  path: string;
  what: string;
  remedy: string;
}

const KUBERAY: Group = {
  path: "/apis/ray.io/v1",
  what: "has no KubeRay (ray.io/v1)",
  remedy: "install its operator, 1.5 or newer, with its CRDs",
};
const GATEWAY_API: Group = {
  path: "/apis/gateway.networking.k8s.io/v1",
  what: "has no Gateway API (gateway.networking.k8s.io/v1)",
  remedy: "install its CRDs and an implementation, for example Envoy Gateway",
};
const ENVOY: Group = {
  path: "/apis/gateway.envoyproxy.io/v1alpha1",
  what: "has no Envoy Gateway (gateway.envoyproxy.io/v1alpha1)",
  remedy: "install it, or set `gateway.implementation` to other",
};

/**
 * Finds what the Kubernetes cluster lacks before anything changes.
 *
 * @throws InvalidInput with all the problems
 */
export async function preflight(
  settings: KubernetesSettings,
  _wanted: Version,
  _recorded: Pick<RolloutRecord, "primary" | "canary"> | undefined,
): Promise<void> {
  const problems = await problemsOf(settings).catch((error: unknown): Problem[] => {
    const told = error instanceof ApiServerUnreachable || error instanceof ApiServerRefused;
    if (!told) throw error;
    const remedy = "see that `kubectl get namespaces` works with the same kubeconfig and context";
    return [{ path: "", rule: error.message.replace(/\.$/, ""), remedy }];
  });
  const placed = problems.map(({ path, ...problem }) => ({
    ...problem,
    path: path === "" ? "rayshift:kubernetes" : `rayshift:kubernetes.${path}`,
  }));
  if (placed.length > 0) throw new InvalidInput(placed, "stack config");
}

async function problemsOf(settings: KubernetesSettings): Promise<Problem[]> {
  const { namespace, gateway } = settings;
  const has = async (path: string) => (await getObject(settings, path)) !== undefined;
  const groups = [KUBERAY, GATEWAY_API, ...(gateway.implementation === "envoy" ? [ENVOY] : [])];
  const missing: Problem[] = [];
  for (const { path, what, remedy } of groups) {
    if (!(await has(path))) missing.push({ path: "", rule: `the cluster ${what}`, remedy });
  }
  if (!(await has(`/api/v1/namespaces/${namespace}`))) {
    const remedy = `make it: kubectl create namespace ${namespace}`;
    missing.push({ path: "namespace", value: namespace, rule: "does not exist", remedy });
  }
  if (missing.some(({ path }) => path === "")) return missing;
  const { name, className } = gateway;
  const where = gateway.namespace ?? namespace;
  if (className === undefined) {
    if (!(await has(`${GATEWAY_API.path}/namespaces/${where}/gateways/${name}`))) {
      const remedy = "name one that exists, or give `gateway.className` to have it made";
      missing.push({ path: "gateway.name", value: name, rule: `is no Gateway in namespace ${where}`, remedy });
    }
  } else if (!(await has(`${GATEWAY_API.path}/gatewayclasses/${className}`))) {
    const remedy = "kubectl get gatewayclasses shows those there are";
    missing.push({ path: "gateway.className", value: className, rule: "is no GatewayClass", remedy });
  }
  return missing;
}
