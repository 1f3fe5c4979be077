import * as pulumi from "@pulumi/pulumi";
import { applicationsOn } from "../applications";
import { projectFolder } from "../projectFolder";
import type { Applications } from "../resources";
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
  { cluster, ...args }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof LocalCluster))
    throw new Error("the local target runs applications on its own clusters only");
  const { version } = args;
  const identity = { home, project: pulumi.getProject(), stack: pulumi.getStack(), part: loadBalancerName };
  const config = pulumi
    .all([cluster.address, cluster.grpcPort, packages.uriOf(version, options.parent) ?? version.spec.working_dir])
    .apply(([{ serveAddress }, grpcPort, files]) => serveConfig(version.spec, { serveAddress, grpcPort }, files));
  const dashboard = {
    dashboardUrl: cluster.address.apply(({ dashboardUrl }) => dashboardUrl),
    dashboardTokenFile: cluster.address.apply(({ dashboardTokenFile }) => dashboardTokenFile),
  };
  const balancer = { adminSocket: `${runtimeDirectory(identity)}/admin.sock` };
  return applicationsOn({ cluster, ...args }, settings, { dashboard, config, balancer }, options);
}
