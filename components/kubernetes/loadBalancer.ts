import { CustomResource } from "@pulumi/kubernetes/apiextensions/customResource";
import { Secret } from "@pulumi/kubernetes/core/v1/secret";
import { NetworkPolicy } from "@pulumi/kubernetes/networking/v1/networkPolicy";
import * as pulumi from "@pulumi/pulumi";
import type { BalancerAddress, HttpRouteAddress } from "../../provider/serve/guards";
import type { Backend, LoadBalancerArgs, LoadBalancerComponent, TargetSettings } from "../target";
import { KubernetesCluster } from "./cluster";
import { networkPolicy } from "./policies";
import { Readiness, Routed } from "./resources";
import { gateway, httpRoute, noCanaryAnswer, type RouteArgs, securityPolicy, tokenData, tokenSecret } from "./route";

export interface KubernetesLoadBalancerArgs extends LoadBalancerArgs, RouteArgs {
  times: TargetSettings;
  route: HttpRouteAddress;
  provider: pulumi.ProviderResource;
}

/**
 * A route of the Gateway API with a gate before and behind it: it is written when every version that gets more traffic is
 * ready for it, and done when the data plane does it.
 */
export class KubernetesLoadBalancer extends pulumi.ComponentResource implements LoadBalancerComponent {
  readonly url: pulumi.Output<string>;
  readonly admin: pulumi.Output<BalancerAddress>;

  constructor(name: string, args: KubernetesLoadBalancerArgs, options: pulumi.ComponentResourceOptions = {}) {
    // What the load balancer waits for is the order inside an update, so its gate has to carry it.
    const { dependsOn, ...componentOptions } = options;
    super("rayshift:kubernetes:LoadBalancer", name, {}, componentOptions);
    const { settings, primary, canary, queryAuthToken, order, route: address, times, provider } = args;
    const own = { parent: this, provider };
    const made = gateway(args);
    const gates: pulumi.Resource[] = made === undefined ? [] : [new CustomResource("gateway", made, own)];
    if (settings.networkPolicy) gates.push(new NetworkPolicy("network-policy", networkPolicy(args), own));
    // Other gateways can do neither: a request for a canary that is not there goes to the primary, and the pods ask for the token.
    const isEnvoy = settings.gateway.implementation === "envoy";
    if (isEnvoy) gates.push(new CustomResource("no-canary", noCanaryAnswer(args), own));
    if (isEnvoy && queryAuthToken !== undefined) {
      const data = pulumi.output(queryAuthToken).apply(tokenData);
      const secret = new Secret("query-token-secret", { ...tokenSecret(args), data }, own);
      // Before the route, or it would be open for a moment.
      gates.push(new CustomResource("security-policy", securityPolicy(args), { ...own, dependsOn: [secret] }));
    }
    const ready = new Readiness(
      "readiness",
      {
        route: address,
        backends: pulumi.all([primary, ...(canary === undefined ? [] : [canary])].map(backend)),
        ...(order === "concurrent" ? { immediate: true } : {}),
      },
      { parent: this, ...(dependsOn === undefined ? {} : { dependsOn }) },
    );
    const { manifest, marker } = httpRoute(args, {
      primary: weighted(primary),
      canary: canary && weighted(canary),
    });
    const route = new CustomResource("route", manifest, { ...own, dependsOn: [ready, ...gates] });
    const { kubeconfig, context, namespace } = settings;
    const { listener, podsNamespace } = settings.gateway;
    const routed = new Routed(
      name,
      {
        gateway: {
          ...(kubeconfig === undefined ? {} : { kubeconfig }),
          ...(context === undefined ? {} : { context }),
          namespace: settings.gateway.namespace ?? namespace,
          name: settings.gateway.name,
          ...(listener === undefined ? {} : { listener }),
          podsNamespace,
        },
        route: address,
        marker,
        backends: [weighted(primary), ...(canary === undefined ? [] : [weighted(canary)])],
        ...(settings.hostname === undefined ? {} : { hostname: settings.hostname }),
        ...(queryAuthToken === undefined ? {} : { queryAuthToken }),
        timeoutSeconds: times.startupTimeoutSeconds,
      },
      { parent: this, dependsOn: [route] },
    );
    this.url = routed.url;
    this.admin = pulumi.output({ httpRoute: address });
    this.registerOutputs({ url: this.url });
  }
}

const weighted = ({ version }: Backend) => ({ version: version.cluster, weight: version.traffic });

function backend({ cluster, version }: Backend) {
  if (!(cluster instanceof KubernetesCluster)) throw new Error("a route leads to RayServices only");
  return cluster.address.apply(({ kubernetes }) => ({ version: version.cluster, kubernetes, weight: version.traffic }));
}
