import * as pulumi from "@pulumi/pulumi";
import type { ClusterInputs } from "../../provider/kubernetes/cluster";
import type { ClusterEndInputs } from "../../provider/kubernetes/clusterEnd";
import type { ReadinessInputs } from "../../provider/kubernetes/readiness";
import type { RoutedInputs, RoutedState } from "../../provider/kubernetes/routed";
import { type Args, withOutputs } from "../resources";

/** The provider's resources of this target, as a program declares them: they wait and check, and make no object. */

export class Cluster extends pulumi.CustomResource {
  declare readonly kubernetes: pulumi.Output<ClusterInputs["kubernetes"]>;

  constructor(name: string, args: Args<ClusterInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:kubernetes:Cluster", name, withOutputs(args, []), options);
  }
}

export class ClusterEnd extends pulumi.CustomResource {
  constructor(name: string, args: Args<ClusterEndInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:kubernetes:ClusterEnd", name, withOutputs(args, []), options);
  }
}

export class Readiness extends pulumi.CustomResource {
  constructor(name: string, args: Args<ReadinessInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:kubernetes:Readiness", name, withOutputs(args, []), options);
  }
}

export class Routed extends pulumi.CustomResource {
  declare readonly url: pulumi.Output<RoutedState["url"]>;

  constructor(name: string, args: Args<RoutedInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:kubernetes:Routed", name, withOutputs(args, ["url"]), options);
  }
}
