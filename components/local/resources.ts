import * as pulumi from "@pulumi/pulumi";
import type { ClusterInputs, ClusterState } from "../../provider/local/cluster";
import type { LoadBalancerInputs, LoadBalancerState } from "../../provider/local/loadBalancer";
import type { PackageInputs, PackageState } from "../../provider/local/package";
import { type Args, withOutputs } from "../resources";

/** The provider's resources of this target, as a program declares them. */

export class Package extends pulumi.CustomResource {
  declare readonly uri: pulumi.Output<PackageState["uri"]>;

  constructor(name: string, args: Args<PackageInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:local:Package", name, withOutputs(args, ["uri"]), options);
  }
}

export class Cluster extends pulumi.CustomResource {
  declare readonly dashboardUrl: pulumi.Output<ClusterState["dashboardUrl"]>;
  declare readonly dashboardTokenFile: pulumi.Output<ClusterState["dashboardTokenFile"]>;
  declare readonly serveAddress: pulumi.Output<ClusterState["serveAddress"]>;
  declare readonly grpcPort: pulumi.Output<ClusterState["grpcPort"]>;

  constructor(name: string, args: Args<ClusterInputs>, options: pulumi.CustomResourceOptions) {
    const outputs = ["dashboardUrl", "dashboardTokenFile", "serveAddress", "grpcPort", "headPid"];
    super("rayserve:local:Cluster", name, withOutputs(args, outputs), options);
  }
}

export class LoadBalancer extends pulumi.CustomResource {
  declare readonly url: pulumi.Output<LoadBalancerState["url"]>;
  declare readonly adminSocket: pulumi.Output<LoadBalancerState["adminSocket"]>;

  constructor(name: string, args: Args<LoadBalancerInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:local:LoadBalancer", name, withOutputs(args, ["url", "adminSocket", "pid"]), options);
  }
}
