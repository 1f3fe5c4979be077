import { BackendService } from "@pulumi/gcp/compute/backendService";
import { GlobalForwardingRule } from "@pulumi/gcp/compute/globalForwardingRule";
import { TargetHttpProxy } from "@pulumi/gcp/compute/targetHttpProxy";
import { TargetHttpsProxy } from "@pulumi/gcp/compute/targetHttpsProxy";
import { URLMap } from "@pulumi/gcp/compute/urlmap";
import * as pulumi from "@pulumi/pulumi";
import type { BalancerAddress } from "../../provider/serve/guards";
import { Readiness, Routed } from "../cloud/resources";
import type { Backend, LoadBalancerArgs, LoadBalancerComponent, TargetSettings } from "../target";
import { GcpCluster } from "./cluster";
import type { Foundation } from "./foundation";
import { nameOfEntrance, nameOfService } from "./names";
import { type UrlMap, urlMap, versionsMap } from "./urlMap";

export interface GcpLoadBalancerArgs extends LoadBalancerArgs {
  foundation: Foundation;
  times: TargetSettings;
}

/**
 * A global external application load balancer with a gate before and behind its weights: they are written when every
 * version that gets more traffic is ready for it, and done when the data plane goes by them.
 *
 * Google looks at a backend service's health once a URL map names it. So a second map, at a port of its own, has the
 * versions by their header: one that comes is there, and proven through it, before the map with the weights names it.
 */
export class GcpLoadBalancer extends pulumi.ComponentResource implements LoadBalancerComponent {
  readonly url: pulumi.Output<string>;
  readonly admin: pulumi.Output<BalancerAddress>;

  constructor(name: string, args: GcpLoadBalancerArgs, options: pulumi.ComponentResourceOptions = {}) {
    // What the load balancer waits for is the order inside an update, so its gate has to carry it.
    const { dependsOn, ...componentOptions } = options;
    super("rayshift:gcp:LoadBalancer", name, {}, componentOptions);
    const { foundation, primary, canary, queryAuthToken, order, times } = args;
    const { owner, settings, address, door } = foundation;
    const { project } = settings;
    const own = { parent: this };
    const refusal = new BackendService(
      "refusal",
      {
        project,
        name: nameOfService(owner, "refusal"),
        loadBalancingScheme: "EXTERNAL_MANAGED",
        protocol: "HTTP",
        healthChecks: foundation.healthCheck.id,
      },
      own,
    );
    const hostname = settings.loadBalancer.hostname ?? "service.rayshift.invalid";
    const rules = pulumi
      .all([weighted(primary), canary && weighted(canary), refusal.id, queryAuthToken])
      .apply(([first, second, refused, token]) => ({
        primary: first,
        canary: second,
        refusal: refused,
        queryAuthToken: token,
        hostname,
      }));
    const versions = this.entrance("versions", rules.apply(versionsMap), foundation, door.versions, []);
    const service = foundation.marker("service", queryAuthToken);
    const ready = new Readiness(
      "readiness",
      {
        marker: service,
        versions: foundation.marker("versions", queryAuthToken),
        backends: pulumi.all([
          backend(primary, "primary"),
          ...(canary === undefined ? [] : [backend(canary, "canary")]),
        ]),
        timeoutSeconds: times.startupTimeoutSeconds,
        ...(order === "concurrent" ? { immediate: true } : {}),
      },
      { parent: this, dependsOn: [versions, ...resources(dependsOn)] },
    );
    const entrance = this.entrance("service", rules.apply(urlMap), foundation, door.service, [ready]);
    const routed = new Routed(
      name,
      {
        marker: service,
        backends: [primary, ...(canary === undefined ? [] : [canary])].map(({ version }) => ({
          version: version.cluster,
          weight: version.traffic,
        })),
        timeoutSeconds: times.startupTimeoutSeconds,
      },
      { parent: this, dependsOn: [entrance] },
    );
    this.url = pulumi.all([address.address, routed.id]).apply(([ip]) => foundation.url(ip));
    this.admin = service.apply((marker) => ({ marker }));
    this.registerOutputs({ url: this.url });
  }

  /** A URL map, and the port at which it answers. */
  private entrance(
    name: "service" | "versions",
    map: pulumi.Output<UrlMap>,
    { owner, settings, address }: Foundation,
    port: number,
    after: pulumi.Resource[],
  ): pulumi.Resource {
    const { project } = settings;
    const { certificates } = settings.loadBalancer;
    const called = nameOfEntrance(owner, name);
    const own = { parent: this };
    const made = new URLMap(
      `${name}-map`,
      {
        project,
        name: called,
        defaultService: map.defaultService,
        hostRules: map.hostRules,
        pathMatchers: map.pathMatchers,
        tests: map.tests,
      },
      { ...own, dependsOn: after },
    );
    const proxy =
      certificates === undefined
        ? new TargetHttpProxy(`${name}-proxy`, { project, name: called, urlMap: made.id }, own)
        : new TargetHttpsProxy(
            `${name}-proxy`,
            { project, name: called, urlMap: made.id, sslCertificates: certificates },
            own,
          );
    const rule = new GlobalForwardingRule(
      `${name}-rule`,
      {
        project,
        name: called,
        loadBalancingScheme: "EXTERNAL_MANAGED",
        ipAddress: address.address,
        portRange: String(port),
        target: proxy.id,
      },
      own,
    );
    return rule;
  }
}

function resources(dependsOn: pulumi.ComponentResourceOptions["dependsOn"]): pulumi.Input<pulumi.Resource>[] {
  return dependsOn === undefined ? [] : ([dependsOn].flat() as pulumi.Input<pulumi.Resource>[]);
}

function clusterOf({ cluster }: Backend): GcpCluster {
  if (!(cluster instanceof GcpCluster)) throw new Error("a URL map of the target gcp leads to its own clusters only");
  return cluster;
}

function weighted(side: Backend) {
  const { cluster, traffic } = side.version;
  return clusterOf(side).backendService.apply((service) => ({ version: cluster, service, weight: traffic }));
}

function backend(side: Backend, role: "primary" | "canary") {
  const { version } = side;
  return clusterOf(side).address.apply(({ dashboardUrl, dashboardToken }) => ({
    version: version.cluster,
    role,
    weight: version.traffic,
    dashboardUrl,
    dashboardToken,
  }));
}
