import { Provider } from "@pulumi/aws/provider";
import { BucketObjectv2 } from "@pulumi/aws/s3/bucketObjectv2";
import * as pulumi from "@pulumi/pulumi";
import type { SurgeGuard, TrafficGuard } from "../../provider/serve/guards";
import { ports } from "../cloud/boot";
import { Applications } from "../resources";
import { serveConfig } from "../serveConfig";
import type { ApplicationsArgs, Target, TargetSettings } from "../target";
import { canonical } from "../version";
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
  times: TargetSettings,
  provider: pulumi.ProviderResource,
  foundation: AwsFoundation,
  { cluster, version, canary, surge, behindLoadBalancer }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof AwsCluster)) throw new Error("the target aws runs applications on its own clusters only");
  const { spec, capacity } = version;
  // Workers are Ray's and no targets of the load balancer: the head's proxy takes all requests.
  const listen = { serveAddress: `0.0.0.0:${ports.serve}`, grpcPort: ports.grpc };
  const plain = serveConfig(spec, listen, spec.working_dir);
  const { drainTimeoutSeconds, startupTimeoutSeconds, secret } = times;
  const config = secret ? pulumi.secret(plain) : pulumi.output(plain);
  const traffic = cluster.marker.apply(
    (address): TrafficGuard => ({
      marker: address,
      version: version.cluster,
      drainTimeoutSeconds,
    }),
  );
  const made = new Applications(
    `applications-${version.cluster}`,
    {
      dashboardUrl: cluster.address.apply(({ dashboardUrl }) => dashboardUrl),
      dashboardToken: cluster.address.apply(({ dashboardToken }) => dashboardToken),
      instances: cluster.address.apply(({ instances }) => instances),
      config,
      ...(capacity === null ? {} : { capacity }),
      canary,
      timeoutSeconds: startupTimeoutSeconds,
      drainTimeoutSeconds,
      ...(surge === undefined ? {} : { surge: pulumi.output(surge) as pulumi.Output<SurgeGuard> }),
      ...(behindLoadBalancer ? { traffic } : {}),
    },
    // The applications end with their cluster.
    { ...options, parent: cluster, deletedWith: cluster },
  );
  new BucketObjectv2(
    `serve-config-${version.cluster}`,
    {
      bucket: foundation.bucket.bucket,
      key: cluster.configKey,
      contentType: "application/json",
      // The stack keeps the keys of a recorded version in another order.
      content: config.apply((each) => canonical({ ...each, target_capacity: capacity })),
    },
    { parent: cluster, provider, dependsOn: [made] },
  );
  return made;
}
