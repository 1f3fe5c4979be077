import { getApplications } from "../../../provider/serve/dashboard";
import type { Seen, Sources } from "../../e2e/invariants";
import type { Api, KubernetesObject } from "../bed/api";
import { ENVOY_ADMIN_PORT } from "../bed/full/systemPods";
import { GATEWAY_NAMESPACE } from "../bed/gateway";

/** A service on Kubernetes. */
export interface Watched {
  api: Api;
  kubeconfig: string;
  namespace: string;
  service: string;
  versions: readonly string[];
  /** URL of the one Envoy's admin interface; absent: that of the gateway's one pod, through the API server. */
  envoy?: string;
}

interface Locality {
  load_balancing_weight?: number;
  lb_endpoints?: Array<{ endpoint: { address: { socket_address: { address: string } } } }>;
}
interface EndpointsDump {
  configs?: Array<{ endpoint_config: { cluster_name: string; endpoints?: Locality[] } }>;
}
interface RoutesDump {
  configs?: Array<{
    route_config: {
      virtual_hosts?: Array<{ routes: Array<{ match: { headers?: unknown }; route?: { cluster?: string } }> }>;
    };
  }>;
}

/** What is seen of it, and how many workers each version had. */
export interface KubernetesSources extends Sources {
  /** Numbers of worker pods in the order in which they came, by version; each only when it is another than before. */
  readonly workersOf: Record<string, number[]>;
}

/** A service on Kubernetes by its pods, Ray's own answers, and what its Envoys divide the requests by. */
export function kubernetesSources({
  api,
  kubeconfig,
  namespace,
  service,
  versions,
  envoy,
}: Watched): KubernetesSources {
  const workersOf: Record<string, number[]> = Object.fromEntries(versions.map((version) => [version, []]));
  const podsOf = async (version: string) => {
    const selector = encodeURIComponent(`rayshift.io/cluster=${service}-${version}`);
    return await list(api, `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`);
  };
  const cluster = async (version: string): Promise<Seen> => {
    const runs = (await podsOf(version)).some(
      ({ metadata, status }) =>
        metadata.labels?.["ray.io/node-type"] === "head" &&
        metadata.deletionTimestamp === undefined &&
        status.phase === "Running",
    );
    if (!runs) return { version, observation: undefined, runs };
    const address = { kubernetes: { kubeconfig, namespace, rayService: `${service}-${version}` } };
    const observation = await getApplications(address).catch(() => undefined);
    return { version, observation, runs };
  };
  return {
    workersOf,
    clusters: () => Promise.all(versions.map(cluster)),
    // One look at all of them: those of a version whose head is gone take up room as well.
    workers: async () => {
      const selector = encodeURIComponent(`rayshift.io/service=${service},ray.io/node-type=worker`);
      const pods = await list(api, `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`);
      const taking = pods.filter(({ status }) => !["Failed", "Succeeded"].includes(status.phase));
      const counts: Record<string, number> = {};
      for (const { metadata } of taking) {
        const cluster = metadata.labels?.["rayshift.io/cluster"] ?? "none";
        counts[cluster] = (counts[cluster] ?? 0) + 1;
      }
      for (const version of versions) {
        const count = counts[`${service}-${version}`] ?? 0;
        if (workersOf[version]?.at(-1) !== count) workersOf[version]?.push(count);
      }
      return counts;
    },
    weights: async () => {
      const askEnvoy = envoy === undefined ? await podAsker(api) : urlAsker(envoy);
      if (askEnvoy === undefined) return undefined;
      const addresses = Object.fromEntries(
        (await Promise.all(versions.map(podsOf))).flatMap((pods, index) =>
          pods.map(({ status }) => [status.podIP, versions[index]!] as const),
        ),
      );
      return await envoyWeights(askEnvoy, addresses);
    },
  };
}

const OF_A_GATEWAY = "gateway.envoyproxy.io%2Fowning-gateway-name";

/** A path of an Envoy's admin interface; undefined where it does not answer. */
type AskEnvoy = <T>(path: string) => Promise<T | undefined>;

async function podAsker(api: Api): Promise<AskEnvoy | undefined> {
  const proxies = await list(api, `/api/v1/namespaces/${GATEWAY_NAMESPACE}/pods?labelSelector=${OF_A_GATEWAY}`);
  const [proxy, ...others] = proxies.filter(
    ({ metadata, status }) => metadata.deletionTimestamp === undefined && status.phase === "Running",
  );
  if (proxy === undefined || others.length > 0) return undefined;
  const admin = `/api/v1/namespaces/${GATEWAY_NAMESPACE}/pods/${proxy.metadata.name}:${ENVOY_ADMIN_PORT}/proxy`;
  return <T>(path: string) => api.get<T>(admin + path).catch(() => undefined);
}

function urlAsker(url: string): AskEnvoy {
  return <T>(path: string) =>
    fetch(url + path)
      .then((response) => response.json() as Promise<T>)
      .catch(() => undefined);
}

/**
 * The weights by which one Envoy divides requests without a header, by version.
 *
 * @param addresses versions by the addresses of their pods
 */
async function envoyWeights(
  ask: AskEnvoy,
  addresses: Record<string, string>,
): Promise<Record<string, number> | undefined> {
  const routes = await ask<RoutesDump>("/config_dump?resource=dynamic_route_configs");
  const endpoints = await ask<EndpointsDump>("/config_dump?include_eds&resource=dynamic_endpoint_configs");
  const all = (routes?.configs ?? [])
    .flatMap(({ route_config }) => route_config.virtual_hosts ?? [])
    .flatMap((host) => host.routes);
  const cluster = all.find(({ match, route }) => match.headers === undefined && route?.cluster !== undefined)?.route;
  const assigned = (endpoints?.configs ?? []).find(
    ({ endpoint_config }) => endpoint_config.cluster_name === cluster?.cluster,
  );
  const weights: Record<string, number> = {};
  for (const { load_balancing_weight: weight = 0, lb_endpoints: ends = [] } of assigned?.endpoint_config.endpoints ??
    []) {
    const address = ends[0]?.endpoint.address.socket_address.address;
    const version = addresses[address ?? ""];
    // A pod that came or went between the two looks.
    if (version === undefined) return undefined;
    weights[version] = (weights[version] ?? 0) + weight;
  }
  return Object.keys(weights).length === 0 ? undefined : weights;
}

async function list(api: Api, path: string): Promise<KubernetesObject[]> {
  return (await api.get<{ items: KubernetesObject[] }>(path)).items;
}
