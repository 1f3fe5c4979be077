import { SecurityGroup } from "@pulumi/aws/ec2/securityGroup";
import { Listener } from "@pulumi/aws/lb/listener";
import { LoadBalancer } from "@pulumi/aws/lb/loadBalancer";
import { Zone } from "@pulumi/aws/route53/zone";
import { Bucket } from "@pulumi/aws/s3/bucket";
import { BucketPublicAccessBlock } from "@pulumi/aws/s3/bucketPublicAccessBlock";
import { SecurityGroupEgressRule } from "@pulumi/aws/vpc/securityGroupEgressRule";
import { SecurityGroupIngressRule } from "@pulumi/aws/vpc/securityGroupIngressRule";
import * as pulumi from "@pulumi/pulumi";
import { markerPath } from "../../provider/cloud/marker";
import { ports } from "../cloud/boot";
import { serviceName } from "../cloud/names";
import { strangerAnswer } from "./rules";
import type { AwsSettings } from "./settings";

const LOAD_BALANCER_NAME_LIMIT = 32;
const GROUP_NAME_LIMIT = 255;

export interface FoundationArgs {
  service: string;
  /** `PROJECT/STACK` */
  stack: string;
  settings: AwsSettings;
  provider: pulumi.ProviderResource;
}

/** What a service has once on AWS, whichever versions run: who may talk to whom, the load balancer, a zone, a bucket. */
export class AwsFoundation extends pulumi.ComponentResource {
  readonly nodeGroupId: pulumi.Output<string>;
  readonly zone: Zone;
  readonly zoneName: string;
  readonly bucket: Bucket;
  readonly listener: Listener;
  /** Of the service, without a path. */
  readonly url: pulumi.Output<string>;
  /** Where the data plane tells its weights. */
  readonly markerUrl: pulumi.Output<string>;
  /** Rules that every machine needs to be a part of a cluster. */
  readonly nodeRules: pulumi.Resource[];

  constructor(name: string, args: FoundationArgs, options: pulumi.ComponentResourceOptions = {}) {
    super("rayshift:aws:Foundation", name, {}, options);
    const { service, stack, settings, provider } = args;
    const { vpcId, dashboardCidrs, loadBalancer: edge } = settings;
    const own = { parent: this, provider };
    const named = (limit: number) => serviceName(service, stack, limit);
    const nodes = new SecurityGroup(
      "nodes",
      { name: `${named(GROUP_NAME_LIMIT)}-nodes`, description: "Machines of a Ray service", vpcId },
      own,
    );
    const front = new SecurityGroup(
      "front",
      { name: `${named(GROUP_NAME_LIMIT)}-front`, description: "Load balancer of a Ray service", vpcId },
      own,
    );
    const port = edge.port ?? (edge.http ? 80 : 443);
    const to = (securityGroupId: pulumi.Input<string>, fromPort: number) => ({
      securityGroupId,
      ipProtocol: "tcp",
      fromPort,
      toPort: fromPort,
    });
    const rule = (of: string, rest: ConstructorParameters<typeof SecurityGroupIngressRule>[1]) =>
      new SecurityGroupIngressRule(of, rest, own);
    this.nodeRules = [
      rule("nodes-among-themselves", {
        securityGroupId: nodes.id,
        ipProtocol: "-1",
        referencedSecurityGroupId: nodes.id,
      }),
      rule("nodes-from-front", { ...to(nodes.id, ports.serve), referencedSecurityGroupId: front.id }),
      ...dashboardCidrs.map((cidr, index) =>
        rule(`dashboard-${index}`, { ...to(nodes.id, ports.dashboard), ...source(cidr) }),
      ),
      new SecurityGroupEgressRule(
        "nodes-out",
        { securityGroupId: nodes.id, ipProtocol: "-1", ...source("0.0.0.0/0") },
        own,
      ),
    ];
    const frontRules = [
      ...edge.cidrs.map((cidr, index) => rule(`front-${index}`, { ...to(front.id, port), ...source(cidr) })),
      new SecurityGroupEgressRule(
        "front-to-nodes",
        { ...to(front.id, ports.serve), referencedSecurityGroupId: nodes.id },
        own,
      ),
    ];
    this.nodeGroupId = nodes.id;
    this.zoneName = `${named(40)}.rayshift.internal`;
    this.zone = new Zone("zone", { name: this.zoneName, vpcs: [{ vpcId }], forceDestroy: true }, own);
    // The names of buckets are the world's: the provider makes one up.
    this.bucket = new Bucket("configs", { forceDestroy: true }, own);
    new BucketPublicAccessBlock(
      "configs-private",
      {
        bucket: this.bucket.id,
        blockPublicAcls: true,
        blockPublicPolicy: true,
        ignorePublicAcls: true,
        restrictPublicBuckets: true,
      },
      own,
    );
    const loadBalancer = new LoadBalancer(
      "alb",
      {
        name: named(LOAD_BALANCER_NAME_LIMIT),
        loadBalancerType: "application",
        internal: edge.internal,
        subnets: edge.subnetIds ?? settings.subnetIds,
        securityGroups: [front.id],
        idleTimeout: edge.idleTimeoutSeconds,
        // What is no header by the standard may be one to a back end.
        dropInvalidHeaderFields: true,
      },
      { ...own, dependsOn: frontRules },
    );
    this.listener = new Listener(
      "listener",
      {
        loadBalancerArn: loadBalancer.arn,
        port,
        ...(edge.certificateArn === undefined
          ? { protocol: "HTTP" }
          : {
              protocol: "HTTPS",
              certificateArn: edge.certificateArn,
              sslPolicy: "ELBSecurityPolicy-TLS13-1-2-2021-06",
            }),
        defaultActions: [strangerAnswer],
      },
      own,
    );
    const scheme = edge.http ? "http" : "https";
    const suffix = port === (edge.http ? 80 : 443) ? "" : `:${port}`;
    this.url = pulumi.output(edge.hostname ?? loadBalancer.dnsName).apply((host) => `${scheme}://${host}${suffix}`);
    this.markerUrl = loadBalancer.dnsName.apply((host) => `${scheme}://${host}${suffix}${markerPath}`);
    this.registerOutputs({ url: this.url });
  }
}

const source = (cidr: string) => (cidr.includes(":") ? { cidrIpv6: cidr } : { cidrIpv4: cidr });
