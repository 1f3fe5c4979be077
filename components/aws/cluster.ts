import { Group } from "@pulumi/aws/autoscaling/group";
import { TargetGroup } from "@pulumi/aws/lb/targetGroup";
import { Record as DnsRecord } from "@pulumi/aws/route53/record";
import { Secret } from "@pulumi/aws/secretsmanager/secret";
import { SecretVersion } from "@pulumi/aws/secretsmanager/secretVersion";
import * as pulumi from "@pulumi/pulumi";
import { clusterTag, nodeTypeTag } from "../../provider/aws/instances";
import type { CloudDashboard } from "../../provider/serve/dashboard";
import type { MarkerAddress } from "../../provider/serve/guards";
import { HEAD_NODE_TYPE, type WorkerTemplate } from "../cloud/autoscaling";
import { headScript, ports, workerScript } from "../cloud/boot";
import { clusterName, namePart } from "../cloud/names";
import { Cluster } from "../cloud/resources";
import { resourcesOf } from "../instanceTypes";
import type { PlacedVersion } from "../record";
import { Token } from "../resources";
import type { WorkerGroup } from "../serviceSpec";
import type { ClusterComponent, TargetSettings } from "../target";
import type { AwsFoundation } from "./foundation";
import { launchTemplate, machineRole, rolePolicy } from "./machines";
import { headStatements, policyDocument, workerStatements } from "./policies";
import { Reaper } from "./resources";
import type { AwsSettings } from "./settings";
import { awsHeadShell, awsShell, recordSeconds } from "./shell";

/** Of the cluster's tag, and of what is named after it with some letters more. */
const NAME_LIMIT = 52;
const TARGET_GROUP_NAME_LIMIT = 32;
const SSH_USER = "ubuntu";
/** An address of nobody, until a head has announced itself. */
const NOWHERE = "192.0.2.1";
/** EC2 takes minutes for a machine with GPUs. */
const REAP_SECONDS = 1200;

export interface AwsClusterArgs {
  times: TargetSettings;
  settings: AwsSettings;
  /** `PROJECT/STACK` */
  stack: string;
  version: PlacedVersion;
  queryAuthToken: pulumi.Output<string>;
  foundation: AwsFoundation;
  provider: pulumi.ProviderResource;
}

export type AwsClusterAddress = CloudDashboard & { serveAddress: string };

/** One version's Ray cluster: a head in a group of one, and what Ray's autoscaler makes workers from. */
export class AwsCluster extends pulumi.ComponentResource implements ClusterComponent {
  readonly address: pulumi.Output<AwsClusterAddress>;
  readonly targetGroupArn: pulumi.Output<string>;
  /** Where the load balancer before it tells its weights. */
  readonly marker: pulumi.Output<MarkerAddress>;
  /** Of the Serve config that a head which takes another's place runs by. */
  readonly configKey: string;

  constructor(name: string, args: AwsClusterArgs, options: pulumi.ComponentResourceOptions = {}) {
    super("rayshift:aws:Cluster", name, {}, options);
    const { times, settings, stack, version, queryAuthToken, foundation, provider } = args;
    const { service, startupTimeoutSeconds, drainTimeoutSeconds } = times;
    const { cluster, spec } = version;
    const { region, subnetIds, readBuckets } = settings;
    const own = { parent: this, provider };
    const ownName = clusterName(service, cluster, stack, NAME_LIMIT);
    const recordName = `${ownName}.${foundation.zoneName}`;
    this.configKey = `${ownName}/serve.json`;
    // A listener that asks for no token takes one all the same.
    this.marker = pulumi.all([foundation.markerUrl, queryAuthToken]).apply(([url, token]) => {
      const { hostname } = settings.loadBalancer;
      return { url, ...(hostname === undefined ? {} : { hostname }), queryAuthToken: token };
    });
    const tags = { ...spec.tags, Name: ownName, "rayshift-service": service, "rayshift-stack": stack };

    const token = new Token(`ray-token-${cluster}`, {}, { parent: this });
    const secret = new Secret(
      `secret-${cluster}`,
      // A secret in its recovery time keeps its name from the next cluster of this version.
      { name: ownName, description: "Tokens of a Ray cluster", recoveryWindowInDays: 0 },
      own,
    );
    const secretValue = new SecretVersion(
      `secret-value-${cluster}`,
      { secretId: secret.id, secretString: pulumi.interpolate`${token.value}\n${queryAuthToken}\n` },
      own,
    );
    const targetGroup = new TargetGroup(
      `targets-${cluster}`,
      {
        name: clusterName(service, cluster, stack, TARGET_GROUP_NAME_LIMIT),
        vpcId: settings.vpcId,
        port: ports.serve,
        protocol: "HTTP",
        targetType: "instance",
        deregistrationDelay: Math.min(3600, Math.ceil(drainTimeoutSeconds)),
        healthCheck: {
          path: "/-/healthz",
          matcher: "200",
          interval: 5,
          timeout: 4,
          healthyThreshold: 2,
          unhealthyThreshold: 3,
        },
      },
      own,
    );
    const record = new DnsRecord(
      `record-${cluster}`,
      { zoneId: foundation.zone.zoneId, name: recordName, type: "A", ttl: recordSeconds, records: [NOWHERE] },
      // The head's own business.
      { ...own, ignoreChanges: ["records"] },
    );

    const worker = machineRole(
      "worker",
      { cluster, name: ownName, settings, policyArns: settings.workerPolicyArns },
      own,
    );
    const rights = { region, clusterName: ownName, image: spec.image_uri, readBuckets };
    const workerRights = rolePolicy(
      "worker",
      cluster,
      worker.role,
      secret.arn.apply((secretArn) => policyDocument(workerStatements({ ...rights, secretArn }))),
      own,
    );
    const templates = spec.compute_config.worker_nodes.map((group) => {
      const script = secret.arn.apply((secretArn) =>
        workerScript({
          clusterName: ownName,
          image: spec.image_uri,
          shell: awsShell({ region, secretArn }),
          headHost: recordName,
          group: { name: group.name, resources: resourcesOf(group) },
        }),
      );
      const made = launchTemplate(
        `workers-${cluster}-${namePart(group.name)}`,
        {
          name: `${ownName}-${namePart(group.name)}`,
          imageId: settings.ami,
          instanceType: group.instance_type ?? "",
          spot: group.market_type !== "ON_DEMAND",
          script,
          profile: worker.profile,
          securityGroupId: foundation.nodeGroupId,
          settings,
          tags,
        },
        own,
      );
      return { group, made };
    });
    // Its deletion comes after the head's and before that of whatever the workers are made of.
    const reaper = new Reaper(
      `reaper-${cluster}`,
      { region, clusterName: ownName, timeoutSeconds: REAP_SECONDS },
      {
        parent: this,
        dependsOn: [
          ...templates.map(({ made }) => made),
          ...worker.ready,
          ...foundation.nodeRules,
          workerRights,
          secretValue,
          record,
        ],
      },
    );

    const head = machineRole("head", { cluster, name: ownName, settings, policyArns: [] }, own);
    const headRights = rolePolicy(
      "head",
      cluster,
      head.role,
      pulumi
        .all([
          secret.arn,
          pulumi.all(templates.map(({ made }) => made.arn)),
          worker.role.arn,
          foundation.zone.arn,
          foundation.bucket.arn,
        ])
        .apply(([secretArn, templateArns, workerRoleArn, zoneArn, bucketArn]) =>
          policyDocument(
            headStatements({
              ...rights,
              ...{ secretArn, templateArns, workerRoleArn, zoneArn, bucketArn },
              ...{ subnetIds, recordName, configKey: this.configKey },
            }),
          ),
        ),
      own,
    );
    const script = pulumi
      .all([
        secret.arn,
        foundation.zone.zoneId,
        foundation.bucket.bucket,
        pulumi.all(templates.map(({ group, made }) => templateOf(group, made.id, made.latestVersion, subnetIds))),
      ])
      .apply(([secretArn, zoneId, bucket, groups]) =>
        headScript({
          clusterName: ownName,
          image: spec.image_uri,
          shell: awsHeadShell({ region, secretArn, zoneId, recordName, bucket, configKey: this.configKey }),
          autoscaling: {
            clusterName: ownName,
            provider: { type: "aws", region },
            sshUser: SSH_USER,
            groups,
            idleTimeoutSeconds: times.idleTimeoutSeconds,
          },
          ...headResources(version),
          // An ALB compares without regard to case.
          proxyChecks: { token: spec.query_auth_token_enabled, exactRoles: true },
        }),
      );
    const headTemplate = launchTemplate(
      `head-template-${cluster}`,
      {
        name: `${ownName}-head`,
        imageId: settings.headAmi ?? settings.ami,
        instanceType: spec.compute_config.head_node?.instance_type ?? "",
        spot: false,
        script,
        profile: head.profile,
        securityGroupId: foundation.nodeGroupId,
        settings,
        tags,
      },
      own,
    );
    const group = new Group(
      `head-${cluster}`,
      {
        name: ownName,
        minSize: 1,
        maxSize: 1,
        vpcZoneIdentifiers: subnetIds,
        // Serve's proxy answers only after the first applications: by the load balancer's checks no head would live to see them.
        healthCheckType: "EC2",
        targetGroupArns: [targetGroup.arn],
        launchTemplate: { id: headTemplate.id, version: headTemplate.latestVersion.apply(String) },
        tags: Object.entries({
          ...tags,
          [clusterTag]: ownName,
          [nodeTypeTag]: "head",
          "ray-user-node-type": HEAD_NODE_TYPE,
        }).map(([key, value]) => ({ key, value, propagateAtLaunch: true })),
      },
      { ...own, dependsOn: [reaper, headRights, ...head.ready], ignoreChanges: ["tags"] },
    );
    const dashboard = {
      dashboardUrl: record.fqdn.apply((host) => `http://${host}:${ports.dashboard}`),
      dashboardToken: token.value,
      instances: { cloud: "aws" as const, region, clusterName: ownName },
    };
    const gate = new Cluster(
      name,
      {
        ...dashboard,
        headId: group.id,
        marker: this.marker,
        version: cluster,
        timeoutSeconds: startupTimeoutSeconds,
        drainTimeoutSeconds,
        seeHead: seeHead(region, ownName),
      },
      { parent: this, dependsOn: [group] },
    );
    this.targetGroupArn = targetGroup.arn;
    this.address = pulumi
      .all([dashboard.dashboardUrl, dashboard.dashboardToken, record.fqdn, gate.urn])
      .apply(([dashboardUrl, dashboardToken, host]) => ({
        dashboardUrl,
        dashboardToken,
        instances: dashboard.instances,
        serveAddress: `${host}:${ports.serve}`,
      }));
    this.registerOutputs({ address: this.address });
  }
}

/** Beside worker groups the head runs no replicas: what runs there could not leave with its node. */
function headResources({ spec }: PlacedVersion): { cpus: number; gpus: number } {
  const { head_node: node, worker_nodes: groups } = spec.compute_config;
  if (node === undefined || groups.length > 0) return { cpus: node?.resources?.CPU ?? 0, gpus: 0 };
  const { cpus, gpus } = resourcesOf(node);
  return { cpus, gpus };
}

/** One group for Ray's autoscaler. Its template's version is named: the latest may be another cluster's by then. */
function templateOf(
  group: WorkerGroup,
  id: pulumi.Output<string>,
  version: pulumi.Output<number>,
  subnetIds: readonly string[],
) {
  return pulumi.all([id, version]).apply(
    ([LaunchTemplateId, number]): WorkerTemplate => ({
      name: group.name,
      resources: resourcesOf(group),
      maxNodes: group.max_nodes,
      // In their order: the next one when a zone has no machine of that type.
      nodeConfig: { LaunchTemplate: { LaunchTemplateId, Version: String(number) }, SubnetIds: [...subnetIds] },
    }),
  );
}

function seeHead(region: string, name: string): string {
  return (
    `aws ec2 describe-instances --region ${region} --filters Name=tag:${clusterTag},Values=${name} ` +
    `Name=tag:${nodeTypeTag},Values=head --query 'Reservations[].Instances[].InstanceId', then aws ec2 get-console-output`
  );
}
