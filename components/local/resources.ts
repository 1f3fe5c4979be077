import * as pulumi from "@pulumi/pulumi";
import type { ClusterInputs, ClusterState } from "../../provider/local/cluster";
import type { LoadBalancerInputs, LoadBalancerState } from "../../provider/local/loadBalancer";
import type { PackageInputs, PackageState } from "../../provider/local/package";
import type { ApplicationsInputs } from "../../provider/serve/applications";
import type { TokenInputs } from "../../provider/token";

/** The provider's resources, as a program declares them. */

type Args<T> = { [K in keyof T]: pulumi.Input<T[K]> };

/** All inputs, and the named outputs that the provider fills in. */
function withOutputs(args: object, outputs: readonly string[]): pulumi.Inputs {
  return { ...Object.fromEntries(outputs.map((output) => [output, undefined])), ...args };
}

export class Token extends pulumi.CustomResource {
  declare readonly value: pulumi.Output<string>;

  constructor(name: string, args: Args<TokenInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:index:Token", name, withOutputs(args, ["value"]), {
      ...options,
      additionalSecretOutputs: ["value"],
    });
  }
}

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

export class Applications extends pulumi.CustomResource {
  constructor(name: string, args: Args<ApplicationsInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:serve:Applications", name, withOutputs(args, []), options);
  }
}

export class LoadBalancer extends pulumi.CustomResource {
  declare readonly url: pulumi.Output<LoadBalancerState["url"]>;
  declare readonly adminSocket: pulumi.Output<LoadBalancerState["adminSocket"]>;

  constructor(name: string, args: Args<LoadBalancerInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:local:LoadBalancer", name, withOutputs(args, ["url", "adminSocket", "pid"]), options);
  }
}
