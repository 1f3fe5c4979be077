import { Provider } from "@pulumi/kubernetes/provider";
import * as pulumi from "@pulumi/pulumi";
import type { HttpRouteAddress } from "../../provider/serve/guards";
import { applicationsOn } from "../applications";
import type { Applications } from "../resources";
import { serveConfig } from "../serveConfig";
import type { ApplicationsArgs, Target, TargetSettings } from "../target";
import { KubernetesCluster } from "./cluster";
import { KubernetesLoadBalancer } from "./loadBalancer";
import { ports } from "./rayService";
import type { KubernetesSettings } from "./settings";

const GRPC_PORT = 9000;

/** The target kubernetes: a RayService for each version, and a route of the Gateway API before them. */
export function kubernetesTarget(times: TargetSettings, settings: KubernetesSettings): Target {
  const { kubeconfig, context, namespace } = settings;
  const where = {
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
    namespace,
  };
  const provider = providerFor(where);
  const { service } = times;
  const stack = `${pulumi.getProject()}/${pulumi.getStack()}`;
  const route: HttpRouteAddress = { ...where, name: service, service };
  const shared = { service, stack, settings, times, route, provider };
  return {
    cluster: (version, queryAuthToken, options) =>
      new KubernetesCluster(`cluster-${version.cluster}`, { ...shared, version, queryAuthToken }, options),
    applications: (args, options) => applications(times, route, args, options),
    loadBalancer: (args, options) => new KubernetesLoadBalancer("load-balancer", { ...shared, ...args }, options),
  };
}

/** Of every cluster that a stack's objects are in. */
const CLUSTER_IDENTIFIER = "rayshift";

/**
 * Pulumi's plugin takes a kubeconfig with another address for another cluster: it would make every object anew and then delete
 * it, by the same name, while it serves. With an identifier it goes by that alone, and a service never moves to another cluster.
 *
 * Pulumi's SDK would write the path in KUBECONFIG down in the stack, and updates elsewhere, in a pod above all, would look for
 * that file. Its plugin finds the variable by itself.
 */
function providerFor(where: { kubeconfig?: string; context?: string; namespace: string }): Provider {
  const { KUBECONFIG: own } = process.env;
  delete process.env.KUBECONFIG;
  try {
    return new Provider("kubernetes", {
      ...where,
      clusterIdentifier: CLUSTER_IDENTIFIER,
      enableServerSideApply: true,
    });
  } finally {
    if (own !== undefined) process.env.KUBECONFIG = own;
  }
}

function applications(
  settings: TargetSettings,
  httpRoute: HttpRouteAddress,
  { cluster, ...args }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof KubernetesCluster)) {
    throw new Error("the target kubernetes runs applications on RayServices only");
  }
  const { spec } = args.version;
  const proxyLocation = spec.proxy_location ?? "EveryNode";
  const listen = { serveAddress: `0.0.0.0:${ports.serve}`, grpcPort: GRPC_PORT, proxyLocation };
  const config = serveConfig(spec, listen, spec.working_dir);
  const dashboard = { kubernetes: cluster.address.apply(({ kubernetes }) => kubernetes) };
  return applicationsOn({ cluster, ...args }, settings, { dashboard, config, balancer: { httpRoute } }, options);
}
