import * as pulumi from "@pulumi/pulumi";
import type { ServeConfig } from "../provider/serve/config";
import type { DashboardAddress } from "../provider/serve/dashboard";
import type { BalancerAddress, SurgeGuard, TrafficGuard } from "../provider/serve/guards";
import { Applications, type Args } from "./resources";
import type { ApplicationsArgs, TargetSettings } from "./target";

/** What a target adds to what the applications of every target take. */
export interface ApplicationsOnTarget {
  dashboard: Args<DashboardAddress>;
  config: pulumi.Input<ServeConfig>;
  /** What tells the weights before the applications shrink. */
  balancer: pulumi.Input<BalancerAddress>;
}

/** The applications of one version, on its cluster; they end with it. */
export function applicationsOn(
  { cluster, version, canary, surge, behindLoadBalancer }: ApplicationsArgs,
  { startupTimeoutSeconds, drainTimeoutSeconds, idleTimeoutSeconds, secret }: TargetSettings,
  { dashboard, config, balancer }: ApplicationsOnTarget,
  options: pulumi.CustomResourceOptions,
): Applications {
  const { capacity } = version;
  const guarded = { version: version.cluster, drainTimeoutSeconds };
  const traffic = pulumi.output(balancer).apply((address) => ({ ...address, ...guarded }) as TrafficGuard);
  return new Applications(
    `applications-${version.cluster}`,
    {
      ...dashboard,
      config: secret ? pulumi.secret(config) : config,
      ...(capacity === null ? {} : { capacity }),
      canary,
      timeoutSeconds: startupTimeoutSeconds,
      drainTimeoutSeconds,
      ...(surge === undefined
        ? {}
        : { surge: pulumi.output({ ...surge, idleTimeoutSeconds }) as pulumi.Output<SurgeGuard> }),
      ...(behindLoadBalancer ? { traffic } : {}),
    },
    // Asking Serve to delete them before their cluster ends would only take time.
    { ...options, parent: cluster, deletedWith: cluster },
  );
}
