import { ListenerRule } from "@pulumi/aws/lb/listenerRule";
import * as pulumi from "@pulumi/pulumi";
import type { BalancerAddress } from "../../provider/serve/guards";
import { Readiness, Routed } from "../cloud/resources";
import type { Backend, LoadBalancerArgs, LoadBalancerComponent, TargetSettings } from "../target";
import { AwsCluster } from "./cluster";
import type { AwsFoundation } from "./foundation";
import { listenerRules, type Rule, type RuleName } from "./rules";
import type { AwsSettings } from "./settings";

export interface AwsLoadBalancerArgs extends LoadBalancerArgs {
  times: TargetSettings;
  settings: AwsSettings;
  foundation: AwsFoundation;
  provider: pulumi.ProviderResource;
}

/**
 * The rules of a listener with a gate before and behind the weights: they are written when every version that gets more
 * traffic is ready for it and answers by its role's rule, and done when the marker that follows them is everywhere.
 */
export class AwsLoadBalancer extends pulumi.ComponentResource implements LoadBalancerComponent {
  readonly url: pulumi.Output<string>;
  readonly admin: pulumi.Output<BalancerAddress>;

  constructor(name: string, args: AwsLoadBalancerArgs, options: pulumi.ComponentResourceOptions = {}) {
    // What the load balancer waits for is the order inside an update, so its rules have to carry it.
    const { dependsOn = [], ...componentOptions } = options;
    super("rayshift:aws:LoadBalancer", name, {}, componentOptions);
    const { primary, canary, queryAuthToken, order, times, settings, foundation, provider } = args;
    const { marker } = own(primary);
    const all = [primary, ...(canary === undefined ? [] : [canary])];
    const rules = pulumi
      .all([own(primary).targetGroupArn, canary && own(canary).targetGroupArn, queryAuthToken])
      .apply(([primaryGroup, canaryGroup, token]) =>
        listenerRules({
          primary: { ...weighted(primary), targetGroupArn: primaryGroup },
          canary: canary && { ...weighted(canary), targetGroupArn: canaryGroup ?? "" },
          queryAuthToken: token,
        }),
      );
    const rule = (of: RuleName, after: pulumi.Input<pulumi.Resource>[]) => {
      const part = <Key extends keyof Rule>(key: Key) => rules.apply((each): Rule[Key] => each[of][key]);
      return new ListenerRule(
        `rule-${of}`,
        {
          listenerArn: foundation.listener.arn,
          priority: part("priority"),
          conditions: part("conditions"),
          actions: part("actions"),
        },
        { parent: this, provider, dependsOn: after },
      );
    };
    const grown = Array.isArray(dependsOn) ? dependsOn : [dependsOn as pulumi.Input<pulumi.Resource>];
    const pinned = [rule("primary", grown), rule("canary", grown)];
    const ready = new Readiness(
      "readiness",
      {
        marker,
        backends: pulumi.all(
          all.map((backend) =>
            own(backend).address.apply(({ serveAddress: _, ...address }) => ({
              ...address,
              ...weighted(backend),
              role: backend === primary ? ("primary" as const) : ("canary" as const),
            })),
          ),
        ),
        timeoutSeconds: times.startupTimeoutSeconds,
        ...(order === "concurrent" ? { immediate: true } : {}),
      },
      { parent: this, dependsOn: pinned },
    );
    const traffic = rule("traffic", [ready]);
    const told = rule("marker", [traffic]);
    const routed = new Routed(
      name,
      { marker, backends: all.map(weighted), timeoutSeconds: times.startupTimeoutSeconds },
      { parent: this, dependsOn: [told] },
    );
    this.url = pulumi.all([foundation.url, routed.urn]).apply(([url]) => url);
    const targetGroups = pulumi
      .all(all.map((backend) => own(backend).targetGroupArn))
      .apply((arns) => Object.fromEntries(arns.map((arn, index) => [all[index]?.version.cluster ?? "", arn])));
    this.admin = pulumi.all([marker, traffic.arn, told.arn, targetGroups, routed.urn]).apply(
      ([address, weights, ofMarker, groups]): BalancerAddress => ({
        marker: address,
        rules: { region: settings.region, weights, marker: ofMarker, targetGroups: groups },
      }),
    );
    this.registerOutputs({ url: this.url });
  }
}

const weighted = ({ version }: Backend) => ({ version: version.cluster, weight: version.traffic });

function own({ cluster }: Backend): AwsCluster {
  if (!(cluster instanceof AwsCluster)) throw new Error("a listener of the target aws leads to its own clusters only");
  return cluster;
}
