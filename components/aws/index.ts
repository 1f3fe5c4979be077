import { Provider } from "@pulumi/aws/provider";
import { BucketObjectv2 } from "@pulumi/aws/s3/bucketObjectv2";
import * as pulumi from "@pulumi/pulumi";
import { cloudApplications } from "../cloud/applications";
import type { Applications } from "../resources";
import type { ApplicationsArgs, Target, TargetSettings } from "../target";
import { AwsCluster } from "./cluster";
import { AwsFoundation } from "./foundation";
import { AwsLoadBalancer } from "./loadBalancer";
import type { AwsSettings } from "./settings";

/** The target aws: a head machine for each version, workers by Ray's own autoscaler, an ALB before them. */
export function awsTarget(times: TargetSettings, settings: AwsSettings): Target {
  const { region } = settings;
  const { service } = times;
  const stack = `${pulumi.getProject()}/${pulumi.getStack()}`;
  const provider = new Provider("aws", { region });
  const foundation = new AwsFoundation("foundation", { service, stack, settings, provider });
  const shared = { times, settings, stack, foundation, provider };
  return {
    cluster: (version, queryAuthToken, options) =>
      new AwsCluster(`cluster-${version.cluster}`, { ...shared, version, queryAuthToken }, options),
    applications: (args, options) => applications(times, provider, foundation, args, options),
    loadBalancer: (args, options) => new AwsLoadBalancer("load-balancer", { ...shared, ...args }, options),
  };
}

function applications(
  settings: TargetSettings,
  provider: pulumi.ProviderResource,
  foundation: AwsFoundation,
  { cluster, ...args }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof AwsCluster)) throw new Error("the target aws runs applications on its own clusters only");
  const { applications, kept } = cloudApplications({ cluster, ...args }, settings, options);
  new BucketObjectv2(
    `serve-config-${args.version.cluster}`,
    { bucket: foundation.bucket.bucket, key: cluster.configKey, contentType: "application/json", content: kept },
    // A head that starts anew runs what the cluster ran, and not what it is to run.
    { parent: cluster, provider, dependsOn: [applications] },
  );
  return applications;
}
