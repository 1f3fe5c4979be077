import * as pulumi from "@pulumi/pulumi";
import type { ClusterInputs } from "../../provider/cloud/cluster";
import type { ReadinessInputs } from "../../provider/cloud/readiness";
import type { RoutedInputs } from "../../provider/cloud/routed";
import { type Args, withOutputs } from "../resources";

/** The provider's resources of both clouds, as a program declares them: they wait and check, and make no object. */

export class Cluster extends pulumi.CustomResource {
  constructor(name: string, args: Args<ClusterInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:cloud:Cluster", name, withOutputs(args, []), options);
  }
}

export class Readiness extends pulumi.CustomResource {
  constructor(name: string, args: Args<ReadinessInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:cloud:Readiness", name, withOutputs(args, []), options);
  }
}

export class Routed extends pulumi.CustomResource {
  constructor(name: string, args: Args<RoutedInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:cloud:Routed", name, withOutputs(args, []), options);
  }
}
