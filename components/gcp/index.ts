import { BucketObject } from "@pulumi/gcp/storage/bucketObject";
import * as pulumi from "@pulumi/pulumi";
import { cloudApplications } from "../cloud/applications";
import type { Applications } from "../resources";
import type { ApplicationsArgs, Target, TargetSettings } from "../target";
import { configObject, GcpCluster } from "./cluster";
import { Foundation } from "./foundation";
import { GcpLoadBalancer } from "./loadBalancer";
import type { GcpSettings } from "./settings";

/** The target gcp: machines of Compute Engine for each version, and a global application load balancer before them. */
export function gcpTarget(times: TargetSettings, settings: GcpSettings): Target {
  const owner = { service: times.service, stack: `${pulumi.getProject()}/${pulumi.getStack()}` };
  const foundation = new Foundation(owner, settings);
  return {
    cluster: (version, queryAuthToken, options) =>
      new GcpCluster(`cluster-${version.cluster}`, { foundation, times, version, queryAuthToken }, options),
    applications: (args, options) => applications(times, foundation, args, options),
    loadBalancer: (args, options) => new GcpLoadBalancer("load-balancer", { foundation, times, ...args }, options),
  };
}

function applications(
  settings: TargetSettings,
  { access }: Foundation,
  { cluster, ...args }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof GcpCluster)) throw new Error("the target gcp runs applications on its own clusters only");
  const { applications, kept } = cloudApplications({ cluster, ...args }, settings, options);
  new BucketObject(
    `serve-config-${args.version.cluster}`,
    {
      bucket: access.bucket.name,
      name: configObject(args.version.cluster),
      contentType: "application/json",
      // A secret of the stack, by the provider itself.
      content: kept,
    },
    // A head that starts anew runs what the cluster ran, and not what it is to run.
    { parent: cluster, dependsOn: [applications] },
  );
  return applications;
}
