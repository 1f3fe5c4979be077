import * as pulumi from "@pulumi/pulumi";
import type { BalancerAddress } from "../provider/serve/guards";
import { type Placement, recordOf } from "./placement";
import type { PlacedVersion, RolloutRecord } from "./record";
import { Token } from "./resources";
import type { ApplicationsArgs, ClusterAddress, ClusterComponent, Target } from "./target";

/** Addresses that the driver and the next update need, by the versions' cluster names. */
export interface Addresses {
  clusters: Record<string, ClusterAddress>;
  loadBalancer: BalancerAddress | Record<string, never>;
}

export interface ServiceArgs {
  target: Target;
  placement: Placement;
  /** Addresses of what ran before this update, as recorded. */
  recorded?: Addresses | undefined;
}

/** A service: the primary version's cluster, during a rollout the canary version's, and the load balancer before them. */
export class Service extends pulumi.ComponentResource {
  readonly url: pulumi.Output<string>;
  /** Undefined when the service asks for no token. */
  readonly queryAuthToken: pulumi.Output<string> | undefined;
  readonly rollout: RolloutRecord;
  readonly addresses: pulumi.Output<Addresses>;

  constructor(
    name: string,
    { target, placement, recorded }: ServiceArgs,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super("rayshift:index:Service", name, {}, options);
    const { primary, canary, order } = placement;
    const token = new Token("query-token", {}, { parent: this });
    this.queryAuthToken = primary.spec.query_auth_token_enabled ? token.value : undefined;

    const primaryCluster = target.cluster(primary, token.value, { parent: this });
    const canaryCluster = canary && target.cluster(canary, token.value, { parent: this });
    const primarySide = { cluster: primaryCluster, version: primary };
    const canarySide = canary && canaryCluster && { cluster: canaryCluster, version: canary };

    // Grow, shift, shrink: the receiving side's applications, then the weights, then the giving side's applications.
    const receiving = order === "forward" && canarySide ? canarySide : primarySide;
    const giving = order === "forward" && canarySide ? primarySide : canarySide;
    const args = (side: typeof primarySide): ApplicationsArgs => ({
      ...side,
      canary: side === canarySide,
      surge: surgeGuard(placement, side.version, primaryCluster, canaryCluster, recorded),
      behindLoadBalancer: side === giving,
    });
    const grown = target.applications(args(receiving), { parent: this });
    const balancer = target.loadBalancer(
      { primary: primarySide, canary: canarySide, queryAuthToken: this.queryAuthToken, order },
      { parent: this, ...(order === "concurrent" ? {} : { dependsOn: [grown] }) },
    );
    if (giving !== undefined) target.applications(args(giving), { parent: this, dependsOn: [balancer] });

    this.url = balancer.url;
    this.rollout = recordOf(placement);
    this.addresses = pulumi
      .all([primaryCluster.address, canaryCluster?.address, balancer.admin])
      .apply(([primaryAddress, canaryAddress, loadBalancer]) => ({
        clusters: {
          [primary.cluster]: primaryAddress,
          ...(canary && canaryAddress ? { [canary.cluster]: canaryAddress } : {}),
        },
        loadBalancer,
      }));
    this.registerOutputs({ url: this.url });
  }
}

/** Both clusters together stay within the surge, also when the record is behind what really runs. */
function surgeGuard(
  { surge, primary, canary, leaving, order }: Placement,
  version: PlacedVersion,
  primaryCluster: ClusterComponent,
  canaryCluster: ClusterComponent | undefined,
  recorded: Addresses | undefined,
): ApplicationsArgs["surge"] {
  if (surge === undefined || order === "concurrent") return undefined;
  const peerCluster = version === primary ? canaryCluster : primaryCluster;
  const gone = leaving === undefined ? undefined : recorded?.clusters[leaving.cluster];
  const peer = version === primary && canary === undefined ? gone && secretive(gone) : peerCluster?.address;
  return peer === undefined ? undefined : { peer, maxTotalCapacity: 100 + surge };
}

/** An address that was read back from the stack's outputs is plain, and in a cloud it has a token. */
function secretive(address: ClusterAddress): pulumi.Input<ClusterAddress> {
  return address.dashboardToken === undefined ? address : pulumi.secret(address);
}
