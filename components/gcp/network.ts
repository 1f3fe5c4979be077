import { Firewall } from "@pulumi/gcp/compute/firewall";
import { Network } from "@pulumi/gcp/compute/network";
import { Router } from "@pulumi/gcp/compute/router";
import { RouterNat } from "@pulumi/gcp/compute/routerNat";
import { Subnetwork } from "@pulumi/gcp/compute/subnetwork";
import type * as pulumi from "@pulumi/pulumi";
import { ports } from "../cloud/boot";
import { nameOfService, type Owner } from "./names";
import { type GcpSettings, regionOf } from "./settings";

/** Where Google's load balancers and their health checks come from. */
const LOAD_BALANCERS = ["130.211.0.0/22", "35.191.0.0/16"];

export interface Place {
  network: pulumi.Output<string> | string;
  subnetwork: pulumi.Output<string> | string;
  /** Network tag of all instances of the service, which its firewall rules go by. */
  tag: string;
  /** Instances without these could not reach each other, or an image. */
  ready: pulumi.Resource[];
}

/**
 * The network of a service: the one that is given, or one of its own with a way out and none in. Ray's ports are open
 * among the service's instances only; Serve's to Google's load balancers; the dashboard's to the ranges of the config.
 */
export function place(owner: Owner, settings: GcpSettings, options: pulumi.CustomResourceOptions): Place {
  const { project, dashboardCidrs } = settings;
  const region = regionOf(settings);
  const tag = nameOfService(owner);
  const own = settings.network === undefined ? ownNetwork(tag, settings, region, options) : undefined;
  const network = settings.network ?? own?.network.id ?? "";
  const rule = (name: string, args: { from: Record<string, string[]>; to?: number }) =>
    new Firewall(
      `firewall-${name}`,
      {
        project,
        network,
        name: `${tag}-${name}`,
        direction: "INGRESS",
        targetTags: [tag],
        ...args.from,
        allows:
          args.to === undefined
            ? [{ protocol: "tcp" }, { protocol: "udp" }, { protocol: "icmp" }]
            : [{ protocol: "tcp", ports: [String(args.to)] }],
      },
      options,
    );
  const rules = [
    rule("inside", { from: { sourceTags: [tag] } }),
    rule("load-balancer", { from: { sourceRanges: LOAD_BALANCERS }, to: ports.serve }),
    rule("dashboard", { from: { sourceRanges: dashboardCidrs }, to: ports.dashboard }),
  ];
  return {
    network,
    subnetwork: settings.subnetwork ?? own?.subnetwork.id ?? "",
    tag,
    ready: [...rules, ...(own === undefined ? [] : [own.wayOut])],
  };
}

function ownNetwork(
  name: string,
  { project, cidr }: GcpSettings,
  region: string,
  options: pulumi.CustomResourceOptions,
) {
  const network = new Network("network", { project, name, autoCreateSubnetworks: false }, options);
  const subnetwork = new Subnetwork(
    "subnetwork",
    { project, region, name, network: network.id, ipCidrRange: cidr, privateIpGoogleAccess: true },
    options,
  );
  const router = new Router("router", { project, region, name, network: network.id }, options);
  // No instance has an address of its own on the internet.
  const wayOut = new RouterNat(
    "nat",
    {
      project,
      region,
      name,
      router: router.name,
      natIpAllocateOption: "AUTO_ONLY",
      sourceSubnetworkIpRangesToNat: "LIST_OF_SUBNETWORKS",
      subnetworks: [{ name: subnetwork.id, sourceIpRangesToNats: ["ALL_IP_RANGES"] }],
    },
    options,
  );
  return { network, subnetwork, wayOut };
}
