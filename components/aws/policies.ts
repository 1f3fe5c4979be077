import { clusterTag } from "../../provider/aws/instances";

/** One statement of an IAM policy. */
export interface Statement {
  Sid?: string;
  Effect: "Allow";
  Action: string | string[];
  Resource: string | string[];
  Condition?: Record<string, Record<string, string | string[]>>;
}

export interface Rights {
  region: string;
  /** Value of the tag that all machines of the cluster have. */
  clusterName: string;
  secretArn: string;
  /** Image in a registry of ECR; others need no right. */
  image?: string | undefined;
  readBuckets: readonly string[];
}

export interface HeadRights extends Rights {
  templateArns: readonly string[];
  workerRoleArn: string;
  subnetIds: readonly string[];
  zoneArn: string;
  recordName: string;
  bucketArn: string;
  configKey: string;
}

export function policyDocument(statements: readonly Statement[]): string {
  return JSON.stringify({ Version: "2012-10-17", Statement: statements });
}

/** Who may have the roles: machines of EC2. */
export const machinesOnly = JSON.stringify({
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Principal: { Service: "ec2.amazonaws.com" }, Action: "sts:AssumeRole" }],
});

/** What a worker may: read its cluster's secret, and the code and models of the service. */
export function workerStatements({ region, secretArn, image, readBuckets }: Rights): Statement[] {
  const buckets = readBuckets.map((bucket) => `arn:${partitionOf(region)}:s3:::${bucket}`);
  return [
    { Effect: "Allow", Action: "secretsmanager:GetSecretValue", Resource: secretArn },
    ...(buckets.length === 0
      ? []
      : ([
          { Effect: "Allow", Action: "s3:ListBucket", Resource: buckets },
          { Effect: "Allow", Action: "s3:GetObject", Resource: buckets.map((bucket) => `${bucket}/*`) },
        ] satisfies Statement[])),
    ...registryStatements(image, region),
  ];
}

/**
 * What a head may beside that: what Ray's autoscaler calls, on machines of its own cluster only, from templates that were
 * made for it; its name in the zone; its cluster's config.
 */
export function headStatements(rights: HeadRights): Statement[] {
  const { region, clusterName, templateArns, workerRoleArn, subnetIds, zoneArn, recordName, bucketArn, configKey } =
    rights;
  const ec2 = (kind: string) => `arn:${partitionOf(region)}:ec2:${region}:*:${kind}`;
  const byTemplate = { ArnEquals: { "ec2:LaunchTemplate": [...templateArns] } };
  const launch: Statement[] = [
    {
      Sid: "LaunchTaggedMachines",
      Effect: "Allow",
      Action: "ec2:RunInstances",
      Resource: ec2("instance/*"),
      Condition: { ...byTemplate, StringEquals: { [`aws:RequestTag/${clusterTag}`]: clusterName } },
    },
    {
      Sid: "LaunchAsTheTemplateSays",
      Effect: "Allow",
      Action: "ec2:RunInstances",
      Resource: [`arn:${partitionOf(region)}:ec2:${region}::image/*`, ec2("security-group/*")],
      Condition: { ...byTemplate, Bool: { "ec2:IsLaunchTemplateResource": "true" } },
    },
    {
      Sid: "LaunchInSubnets",
      Effect: "Allow",
      Action: "ec2:RunInstances",
      Resource: [
        ...subnetIds.map((subnet) => ec2(`subnet/${subnet}`)),
        ec2("volume/*"),
        ec2("network-interface/*"),
        ec2("spot-instances-request/*"),
      ],
      Condition: byTemplate,
    },
    { Sid: "UseTemplates", Effect: "Allow", Action: "ec2:RunInstances", Resource: [...templateArns] },
    {
      Sid: "TagAtLaunch",
      Effect: "Allow",
      Action: "ec2:CreateTags",
      Resource: [ec2("instance/*"), ec2("volume/*"), ec2("spot-instances-request/*")],
      Condition: { StringEquals: { "ec2:CreateAction": "RunInstances" } },
    },
    {
      Sid: "GiveTheWorkersTheirRole",
      Effect: "Allow",
      Action: "iam:PassRole",
      Resource: workerRoleArn,
      Condition: toMachines,
    },
  ];
  return [
    ...workerStatements(rights),
    // It cannot be bound to resources.
    { Sid: "SeeMachines", Effect: "Allow", Action: "ec2:DescribeInstances", Resource: "*" },
    ...(templateArns.length === 0 ? [] : launch),
    {
      Sid: "EndOwnMachines",
      Effect: "Allow",
      Action: "ec2:TerminateInstances",
      Resource: ec2("instance/*"),
      Condition: { StringEquals: { [`aws:ResourceTag/${clusterTag}`]: clusterName } },
    },
    {
      Sid: "AnnounceItself",
      Effect: "Allow",
      Action: "route53:ChangeResourceRecordSets",
      Resource: zoneArn,
      Condition: {
        "ForAllValues:StringEquals": {
          "route53:ChangeResourceRecordSetsNormalizedRecordNames": [recordName],
          "route53:ChangeResourceRecordSetsRecordTypes": ["A"],
        },
      },
    },
    { Sid: "ReadConfig", Effect: "Allow", Action: "s3:GetObject", Resource: `${bucketArn}/${configKey}` },
  ];
}

const toMachines = { StringEquals: { "iam:PassedToService": "ec2.amazonaws.com" } };

/** `123456789012.dkr.ecr.us-west-2.amazonaws.com/team/ray:1` */
const ecrImage = /^(\d{12})\.dkr\.ecr\.([-a-z0-9]+)\.amazonaws\.com(?:\.cn)?\/([^:@]+)/;

function registryStatements(image: string | undefined, region: string): Statement[] {
  const found = ecrImage.exec(image ?? "");
  if (found === null) return [];
  const [, account, of, repository] = found;
  return [
    { Effect: "Allow", Action: "ecr:GetAuthorizationToken", Resource: "*" },
    {
      Effect: "Allow",
      Action: ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
      Resource: `arn:${partitionOf(region)}:ecr:${of}:${account}:repository/${repository}`,
    },
  ];
}

/** Where a region's ARNs begin. */
export function partitionOf(region: string): string {
  if (region.startsWith("cn-")) return "aws-cn";
  return region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
}
