import {
  ApiServerRefused,
  ApiServerUnreachable,
  getObject,
  type KubernetesObject,
} from "../../provider/kubernetes/api";
import { InvalidInput, type Problem } from "../problems";
import { type Intent, type QuotaFindings, quotaFindings } from "./quotas";
import { hasTokens, rayVersionOf } from "./rayService";
import type { KubernetesSettings } from "./settings";

interface Group {
  path: string;
  /** Plural names of its resources that a service is made of. */
  resources: string[];
  what: string;
  remedy: string;
}

const KUBERAY: Group = {
  path: "/apis/ray.io/v1",
  resources: ["rayservices", "rayclusters"],
  what: "KubeRay (ray.io/v1)",
  remedy: "install its operator, 1.5 or newer, with its CRDs",
};
const GATEWAY_API: Group = {
  path: "/apis/gateway.networking.k8s.io/v1",
  resources: ["gateways", "gatewayclasses", "httproutes"],
  what: "Gateway API (gateway.networking.k8s.io/v1)",
  remedy: "install its CRDs and an implementation, for example Envoy Gateway",
};
const ENVOY: Group = {
  path: "/apis/gateway.envoyproxy.io/v1alpha1",
  resources: ["securitypolicies", "httproutefilters"],
  what: "Envoy Gateway (gateway.envoyproxy.io/v1alpha1)",
  remedy: "install it, or set `gateway.implementation` to other",
};

/**
 * Finds what the Kubernetes cluster lacks before anything changes.
 *
 * @returns what may stand in the way
 * @throws InvalidInput with all the problems
 */
export async function preflight(settings: KubernetesSettings, intent: Intent): Promise<string[]> {
  const { problems, notices } = await findingsOf(settings, intent).catch((error: unknown): QuotaFindings => {
    const told = error instanceof ApiServerUnreachable || error instanceof ApiServerRefused;
    if (!told) throw error;
    const remedy = "see that `kubectl get namespaces` works with the same kubeconfig and context";
    return { problems: [{ path: "", rule: error.message.replace(/\.$/, ""), remedy }], notices: [] };
  });
  const placed = problems.map(({ path, ...problem }) => ({
    ...problem,
    path: path === "" ? "rayshift:kubernetes" : `rayshift:kubernetes.${path}`,
  }));
  if (placed.length > 0) throw new InvalidInput(placed, "stack config");
  return notices;
}

async function findingsOf(settings: KubernetesSettings, intent: Intent): Promise<QuotaFindings> {
  const problems = await problemsOf(settings);
  const { problems: ofQuotas, notices } = await quotaFindings(settings, intent);
  return { problems: [...problems, ...ofQuotas], notices: [...openDashboard(settings, intent), ...notices] };
}

/** A NetworkPolicy cannot close the dashboard's port, so that a token has to. */
function openDashboard(settings: KubernetesSettings, { wanted: { name, spec } }: Intent): string[] {
  const version = rayVersionOf(spec, settings);
  if (hasTokens(version)) return [];
  const why = version === undefined ? "its Ray version is not known" : `it has Ray ${version}`;
  return [
    `Every pod of the cluster can reach Ray's dashboard of ${name} and change what it serves: ${why}, and KubeRay gives a token from ` +
      "Ray 2.52 on. Use such an image, with the version in its tag or in `ray_version`.",
  ];
}

async function problemsOf(settings: KubernetesSettings): Promise<Problem[]> {
  const { namespace, gateway } = settings;
  const has = async (path: string) => (await getObject(settings, path)) !== undefined;
  const groups = [KUBERAY, GATEWAY_API, ...(gateway.implementation === "envoy" ? [ENVOY] : [])];
  const missing: Problem[] = [];
  for (const group of groups) {
    const lacks = await lackingOf(settings, group);
    if (lacks !== undefined) missing.push({ path: "", rule: `the cluster has no ${lacks}`, remedy: group.remedy });
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

/** What the API server does not know of a group: all of it, or some of its resources, whose CRDs are not there. */
async function lackingOf(settings: KubernetesSettings, { path, resources, what }: Group): Promise<string | undefined> {
  const group = await getObject<KubernetesObject & { resources?: Array<{ name: string }> }>(settings, path);
  if (group === undefined) return what;
  const known = (group.resources ?? []).map(({ name }) => name);
  const lacking = resources.filter((name) => !known.includes(name));
  return lacking.length === 0 ? undefined : `${lacking.join(" and ")} of ${what}`;
}
