import { BucketObject } from "@pulumi/gcp/storage/bucketObject";
import * as pulumi from "@pulumi/pulumi";
import type { SurgeGuard, TrafficGuard } from "../../provider/serve/guards";
import { ports } from "../cloud/boot";
import { Applications } from "../resources";
import { serveConfig } from "../serveConfig";
import type { ApplicationsArgs, Target, TargetSettings } from "../target";
import { canonical } from "../version";
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
  times: TargetSettings,
  { access }: Foundation,
  { cluster, version, canary, surge, behindLoadBalancer }: ApplicationsArgs,
  options: pulumi.CustomResourceOptions,
): Applications {
  if (!(cluster instanceof GcpCluster)) throw new Error("the target gcp runs applications on its own clusters only");
  const { spec, capacity } = version;
  // The load balancer knows the head alone: what Ray starts is in no instance group.
  const listen = { serveAddress: `0.0.0.0:${ports.serve}`, grpcPort: ports.grpc, proxyLocation: "HeadOnly" } as const;
  const config = serveConfig(spec, listen, spec.working_dir);
  const { drainTimeoutSeconds, startupTimeoutSeconds, secret } = times;
  const made = new Applications(
    `applications-${version.cluster}`,
    {
      dashboardUrl: cluster.address.apply(({ dashboardUrl }) => dashboardUrl),
      dashboardToken: cluster.address.apply(({ dashboardToken }) => dashboardToken),
      instances: cluster.address.apply(({ instances }) => instances),
      config: secret ? pulumi.secret(config) : config,
      ...(capacity === null ? {} : { capacity }),
      canary,
      timeoutSeconds: startupTimeoutSeconds,
      drainTimeoutSeconds,
      ...(surge === undefined ? {} : { surge: pulumi.output(surge) as pulumi.Output<SurgeGuard> }),
      ...(behindLoadBalancer ? { traffic: trafficGuard(cluster, version.cluster, drainTimeoutSeconds) } : {}),
    },
    // The applications end with their cluster.
    { ...options, parent: cluster, deletedWith: cluster },
  );
  // The stack keeps the keys of a recorded version in another order.
  const content = canonical({ ...config, target_capacity: capacity });
  new BucketObject(
    `serve-config-${version.cluster}`,
    {
      bucket: access.bucket.name,
      name: configObject(version.cluster),
      contentType: "application/json",
      // A secret of the stack, by the provider itself.
      content,
    },
    // A head that starts anew runs what the cluster ran, and not what it is to run.
    { parent: cluster, dependsOn: [made] },
  );
  return made;
}

function trafficGuard(cluster: GcpCluster, version: string, drainTimeoutSeconds: number): pulumi.Output<TrafficGuard> {
  return cluster.marker.apply((marker) => ({ marker, version, drainTimeoutSeconds }));
}
