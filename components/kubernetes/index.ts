import { Provider } from "@pulumi/kubernetes/provider";
import * as pulumi from "@pulumi/pulumi";
import type { HttpRouteAddress, SurgeGuard } from "../../provider/serve/guards";
import { Applications } from "../resources";
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
  const provider = new Provider("kubernetes", { ...where, enableServerSideApply: true });
  const { service } = times;
  const stack = `${pulumi.getProject()}/${pulumi.getStack()}`;
  const route: HttpRouteAddress = { ...where, name: service, service };
  const shared = { service, stack, settings, times, route, provider };
  return {
    cluster: (version, _token, options) =>
      new KubernetesCluster(`cluster-${version.cluster}`, { ...shared, version }, options),
    applications: (args, options) => applications(times, route, args, options),
    loadBalancer: (args, options) => new KubernetesLoadBalancer("load-balancer", { ...shared, ...args }, options),
  };
}

function applications(
  times: TargetSettings,
  route: HttpRouteAddress,
  { cluster, version, canary, surge, behindLoadBalancer }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof KubernetesCluster)) {
    throw new Error("the target kubernetes runs applications on RayServices only");
  }
  const { spec, capacity } = version;
  const config = serveConfig(
    spec,
    {
      serveAddress: `0.0.0.0:${ports.serve}`,
      grpcPort: GRPC_PORT,
      proxyLocation: spec.proxy_location ?? "EveryNode",
    },
    spec.working_dir,
  );
  const { drainTimeoutSeconds, startupTimeoutSeconds, secret } = times;
  return new Applications(
    `applications-${version.cluster}`,
    {
      kubernetes: cluster.address.apply(({ kubernetes }) => kubernetes),
      config: secret ? pulumi.secret(config) : config,
      ...(capacity === null ? {} : { capacity }),
      canary,
      timeoutSeconds: startupTimeoutSeconds,
      drainTimeoutSeconds,
      ...(surge === undefined ? {} : { surge: pulumi.output(surge) as pulumi.Output<SurgeGuard> }),
      ...(behindLoadBalancer ? { traffic: { httpRoute: route, version: version.cluster, drainTimeoutSeconds } } : {}),
    },
    // The applications end with their cluster.
    { ...options, parent: cluster, deletedWith: cluster },
  );
}
