import * as pulumi from "@pulumi/pulumi";
import type { SurgeGuard } from "../../provider/serve/guards";
import { projectFolder } from "../projectFolder";
import { Applications } from "../resources";
import { serveConfig } from "../serveConfig";
import type { ApplicationsArgs, Target, TargetSettings } from "../target";
import { LocalCluster } from "./cluster";
import { homeOf, localHost, runtimeDirectory } from "./host";
import { LocalLoadBalancer } from "./loadBalancer";
import { Packages } from "./packages";

export const loadBalancerName = "load-balancer";

/** The local target: Ray clusters of processes and a HAProxy on this host. */
export function localTarget(settings: TargetSettings): Target {
  const host = localHost(homeOf(projectFolder()));
  const packages = new Packages(`${host.home}/packages/${pulumi.getProject()}-${pulumi.getStack()}`);
  return {
    cluster: (version, _token, options) =>
      new LocalCluster(`cluster-${version.cluster}`, { host, settings, version }, options),
    applications: (args, options) => applications(host.home, settings, packages, args, options),
    loadBalancer: (args, options) => new LocalLoadBalancer(loadBalancerName, { host, settings, ...args }, options),
  };
}

function applications(
  home: string,
  settings: TargetSettings,
  packages: Packages,
  { cluster, version, canary, surge, behindLoadBalancer }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof LocalCluster))
    throw new Error("the local target runs applications on its own clusters only");
  const { spec, capacity } = version;
  const identity = { home, project: pulumi.getProject(), stack: pulumi.getStack(), part: loadBalancerName };
  const config = pulumi
    .all([cluster.address, cluster.grpcPort, packages.uriOf(version, options.parent) ?? spec.working_dir])
    .apply(([{ serveAddress }, grpcPort, files]) => serveConfig(spec, { serveAddress, grpcPort }, files));
  return new Applications(
    `applications-${version.cluster}`,
    {
      dashboardUrl: cluster.address.apply(({ dashboardUrl }) => dashboardUrl),
      dashboardTokenFile: cluster.address.apply(({ dashboardTokenFile }) => dashboardTokenFile),
      config: settings.secret ? pulumi.secret(config) : config,
      ...(capacity === null ? {} : { capacity }),
      canary,
      timeoutSeconds: settings.startupTimeoutSeconds,
      drainTimeoutSeconds: settings.drainTimeoutSeconds,
      ...(surge === undefined ? {} : { surge: pulumi.output(surge) as pulumi.Output<SurgeGuard> }),
      ...(behindLoadBalancer
        ? {
            traffic: {
              adminSocket: `${runtimeDirectory(identity)}/admin.sock`,
              version: version.cluster,
              drainTimeoutSeconds: settings.drainTimeoutSeconds,
            },
          }
        : {}),
    },
    // The applications end with their cluster; asking Serve to delete them first would only take time.
    { ...options, parent: cluster, deletedWith: cluster },
  );
}
