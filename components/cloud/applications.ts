import * as pulumi from "@pulumi/pulumi";
import type { CloudDashboard } from "../../provider/serve/dashboard";
import type { MarkerAddress } from "../../provider/serve/guards";
import { applicationsOn } from "../applications";
import type { Applications } from "../resources";
import { serveConfig } from "../serveConfig";
import type { ApplicationsArgs, ClusterComponent, TargetSettings } from "../target";
import { canonical } from "../version";
import { ports } from "./boot";

/** A cluster of machines, and where the load balancer before it tells its weights. */
interface CloudCluster extends ClusterComponent {
  readonly address: pulumi.Output<CloudDashboard & { serveAddress: string }>;
  readonly marker: pulumi.Output<MarkerAddress>;
}

/**
 * The applications of one version on a cluster of machines, and the Serve config, as JSON, that is to be kept for a head
 * which takes another's place.
 */
export function cloudApplications(
  args: Omit<ApplicationsArgs, "cluster"> & { cluster: CloudCluster },
  settings: TargetSettings,
  options: pulumi.CustomResourceOptions,
): { applications: Applications; kept: pulumi.Output<string> } {
  const { cluster, version } = args;
  // Workers are Ray's and no targets of the load balancer: the head's proxy takes all requests.
  const listen = { serveAddress: `0.0.0.0:${ports.serve}`, grpcPort: ports.grpc, proxyLocation: "HeadOnly" } as const;
  const plain = serveConfig(version.spec, listen, version.spec.working_dir);
  const config = settings.secret ? pulumi.secret(plain) : pulumi.output(plain);
  const dashboard = {
    dashboardUrl: cluster.address.apply(({ dashboardUrl }) => dashboardUrl),
    dashboardToken: cluster.address.apply(({ dashboardToken }) => dashboardToken),
    instances: cluster.address.apply(({ instances }) => instances),
  };
  const balancer = cluster.marker.apply((marker) => ({ marker }));
  return {
    applications: applicationsOn(args, settings, { dashboard, config, balancer }, options),
    // The stack keeps the keys of a recorded version in another order.
    kept: config.apply((each) => canonical({ ...each, target_capacity: version.capacity })),
  };
}
