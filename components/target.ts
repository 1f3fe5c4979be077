import type * as pulumi from "@pulumi/pulumi";
import type { DashboardAddress } from "../provider/serve/dashboard";
import type { BalancerAddress } from "../provider/serve/guards";
import type { Direction } from "../rollout/plan";
import type { PlacedVersion } from "./record";

/** How to reach a cluster that runs: its dashboard (Ray's REST API) and the address of Serve's proxy. */
export type ClusterAddress = DashboardAddress & {
  /** `HOST:PORT` */
  serveAddress: string;
  /** Requests are answered while the head is gone, and another one takes its state up. */
  outlivesHead?: boolean;
};

/** A cluster of a target, as a component. */
export interface ClusterComponent extends pulumi.ComponentResource {
  readonly address: pulumi.Output<ClusterAddress>;
}

export interface ApplicationsArgs {
  cluster: ClusterComponent;
  version: PlacedVersion;
  /** During a rollout only: `initial_replicas` are the canary's floor. */
  canary: boolean;
  /** Refuses to grow above this total of both clusters' capacities, in percent. */
  surge?: { peer: pulumi.Input<ClusterAddress>; maxTotalCapacity: number } | undefined;
  /** Refuses to shrink below what the load balancer sends. */
  behindLoadBalancer: boolean;
}

export interface Backend {
  cluster: ClusterComponent;
  version: PlacedVersion;
}

export interface LoadBalancerArgs {
  primary: Backend;
  canary?: Backend | undefined;
  /** Absent: requests need no token. */
  queryAuthToken?: pulumi.Input<string> | undefined;
  order: Direction | "concurrent";
}

/** The load balancer of a target, as a component. */
export interface LoadBalancerComponent extends pulumi.ComponentResource {
  readonly url: pulumi.Output<string>;
  /** What the driver needs to read weights from the data plane. */
  readonly admin: pulumi.Output<BalancerAddress>;
}

/** Where a service runs. Choosing one loads only that target's SDK. */
export interface Target {
  /** @param queryAuthToken - the service's, whether or not this version asks for it */
  cluster(
    version: PlacedVersion,
    queryAuthToken: pulumi.Output<string>,
    options: pulumi.ComponentResourceOptions,
  ): ClusterComponent;
  applications(args: ApplicationsArgs, options: pulumi.CustomResourceOptions): pulumi.Resource;
  loadBalancer(args: LoadBalancerArgs, options: pulumi.ComponentResourceOptions): LoadBalancerComponent;
}

/** What a target is told about the service and the stack. */
export interface TargetSettings {
  /** Name of the service. */
  service: string;
  /** Longest wait for a cluster or its applications, seconds. */
  startupTimeoutSeconds: number;
  /** Longest wait for the requests of a backend that leaves, seconds. */
  drainTimeoutSeconds: number;
  /** After which Ray's autoscaler ends an idle worker, seconds. */
  idleTimeoutSeconds: number;
  /** Port of the local load balancer; a free one when absent. */
  port?: number | undefined;
  /** The spec is a secret of the stack, for example for its `env_vars`. */
  secret: boolean;
}
