import * as pulumi from "@pulumi/pulumi";
import type { LoadBalancerInputs } from "../../provider/local/loadBalancer";
import type { BalancerAddress } from "../../provider/serve/guards";
import type { Backend, LoadBalancerArgs, LoadBalancerComponent, TargetSettings } from "../target";
import { LocalCluster } from "./cluster";
import { type LocalHost, runtimeDirectory } from "./host";
import { LoadBalancer } from "./resources";

export interface LocalLoadBalancerArgs extends LoadBalancerArgs {
  host: LocalHost;
  settings: TargetSettings;
}

/** A real HAProxy on this host: weights and roles over its runtime socket, the query token, drain. */
export class LocalLoadBalancer extends pulumi.ComponentResource implements LoadBalancerComponent {
  readonly url: pulumi.Output<string>;
  readonly admin: pulumi.Output<BalancerAddress>;

  constructor(name: string, args: LocalLoadBalancerArgs, options: pulumi.ComponentResourceOptions = {}) {
    // What the load balancer waits for is the order inside an update, so its child has to carry it.
    const { dependsOn, ...componentOptions } = options;
    super("rayshift:local:LoadBalancer", name, {}, componentOptions);
    const { host, settings, primary, canary, queryAuthToken, order } = args;
    const balancer = new LoadBalancer(
      name,
      {
        directory: runtimeDirectory({
          home: host.home,
          project: pulumi.getProject(),
          stack: pulumi.getStack(),
          part: name,
        }),
        haproxy: host.haproxy,
        ...(settings.port === undefined ? {} : { port: settings.port }),
        ...(queryAuthToken === undefined ? {} : { queryAuthToken }),
        backends: pulumi.all([primary, ...(canary === undefined ? [] : [canary])].map(backend)),
        primary: primary.version.cluster,
        ...(canary === undefined ? {} : { canary: canary.version.cluster }),
        drainTimeoutSeconds: settings.drainTimeoutSeconds,
        ...(order === "concurrent" ? { immediate: true } : {}),
      },
      { parent: this, ...(dependsOn === undefined ? {} : { dependsOn }) },
    );
    this.url = balancer.url;
    this.admin = balancer.adminSocket.apply((adminSocket): BalancerAddress => ({ adminSocket }));
    this.registerOutputs({ url: this.url });
  }
}

function backend({ cluster, version }: Backend): pulumi.Output<LoadBalancerInputs["backends"][number]> {
  if (!(cluster instanceof LocalCluster))
    throw new Error("the local target's load balancer stands before its own clusters");
  return cluster.address.apply(({ serveAddress, dashboardUrl, dashboardTokenFile }) => ({
    version: version.cluster,
    address: serveAddress,
    weight: version.traffic,
    dashboardUrl,
    dashboardTokenFile,
  }));
}
