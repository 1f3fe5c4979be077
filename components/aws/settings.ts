import { z } from "zod";
import { cloudProblems } from "../cloud/problems";
import { instanceTypes } from "../instanceTypes";
import { checked, type Problem, type Report, worded } from "../problems";
import type { ServiceSpec } from "../serviceSpec";
import { text } from "../specParts";

const id = (prefix: string) =>
  worded(
    z.string().regex(new RegExp(`^${prefix}-[0-9a-f]{8,17}$`)),
    `must be the id of one, ${prefix}-...`,
    `give for example ${prefix}-0a1b2c3d4e5f60718`,
  );

const cidr = worded(z.union([z.cidrv4(), z.cidrv6()]), "must be a block of addresses", "give for example 10.0.0.0/16");

/** Of Ray's dashboard: whoever has its token can run anything on the cluster. */
const privateCidr = worded(
  z
    .string()
    .refine(
      (block) => !block.endsWith("/0") && (z.cidrv4().safeParse(block).success || z.cidrv6().safeParse(block).success),
    ),
  "must be a block of addresses, and not everybody's",
  "give those that `rayshift` runs from, for example 10.0.0.0/16",
);

const bucketName = worded(
  z.string().regex(/^[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]$/),
  "must be the name of a bucket",
  "give it without s3://",
);

const loadBalancer = checked(
  z.strictObject({
    /** In two zones at least; absent: those of the machines. */
    subnetIds: z.array(id("subnet")).min(2).optional(),
    /** Has no address outside of the VPC. */
    internal: z.boolean().default(false),
    /** Of ACM, for `hostname`. */
    certificateArn: worded(
      z.string().regex(/^arn:aws[-a-z]*:acm:[-a-z0-9]+:\d{12}:certificate\/[-\w]+$/),
      "must be the ARN of a certificate in ACM",
      "aws acm list-certificates shows those there are",
    ).optional(),
    /** Of the requests; the certificate's. Its DNS record is yours to make. */
    hostname: worded(
      z
        .string()
        .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/)
        .max(253),
      "must be a host name in lower-case letters",
      "give for example models.example.com",
    ).optional(),
    /** Requests and their tokens go unencrypted. */
    http: z.boolean().default(false),
    port: worded(z.int().min(1).max(65535), "must be a port from 1 to 65535", "give for example 8443").optional(),
    /** Whose requests are let in. */
    cidrs: z.array(cidr).min(1).default(["0.0.0.0/0"]),
    /** Longest silence within a request. */
    idleTimeoutSeconds: worded(
      z.int().min(1).max(4000),
      "must be a whole number of seconds from 1 to 4000",
      "give for example 600",
    ).default(600),
  }),
  (value, report) => {
    if (value.http === true && value.certificateArn !== undefined) {
      report(["http"], "cannot be given beside `certificateArn`", "leave out one of the two");
    }
    if (value.http !== true && value.certificateArn === undefined) {
      const remedy = "give one of ACM with its `hostname`, or choose `http: true`: tokens then go unencrypted";
      report(["certificateArn"], "is missing", remedy);
    }
    if (value.certificateArn !== undefined && value.hostname === undefined) {
      report(["hostname"], "is missing: the certificate is for one", "give the host name of the certificate");
    }
  },
);

/** `rayshift:aws`: where the service runs in an AWS account, and what its machines are made of. */
export const awsSettings = checked(
  z.strictObject({
    region: worded(
      z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/),
      "must be the name of a region",
      "give for example us-west-2",
    ),
    vpcId: id("vpc"),
    /** Of head and workers, each a zone to fall back on. They need a way out to AWS's own APIs. */
    subnetIds: z.array(id("subnet")).min(1),
    /** Of workers, and of the head where `headAmi` is absent: Linux with the AWS CLI, and Docker or Ray. */
    ami: id("ami"),
    headAmi: id("ami").optional(),
    /** The images' name of their own disk: `/dev/xvda` for Amazon Linux. */
    rootDevice: text.default("/dev/sda1"),
    /** GiB of each machine's disk. */
    diskGiB: worded(
      z.int().min(8).max(16384),
      "must be a whole number of GiB from 8 to 16384",
      "give for example 200",
    ).default(200),
    /** Who may reach Ray's dashboard, for which `rayshift` needs Ray's token too. */
    dashboardCidrs: worded(
      z.array(privateCidr).min(1),
      "must be a list of at least one block of addresses",
      'give for example ["10.0.0.0/16"]',
    ),
    loadBalancer,
    /** Buckets that the machines may read, for a `working_dir` or models in them. */
    readBuckets: z.array(bucketName).default([]),
    /** Managed policies that replicas need. */
    workerPolicyArns: z.array(text).default([]),
    /** ARN of a policy that bounds all roles made here. */
    permissionsBoundary: text.optional(),
  }),
  reportZones,
);

/** An ALB stands in two zones or more. */
function reportZones(value: Record<string, unknown>, report: Report): void {
  const { subnetIds, loadBalancer: own } = value as { subnetIds?: unknown; loadBalancer?: { subnetIds?: unknown } };
  if (!Array.isArray(subnetIds) || subnetIds.length > 1 || own?.subnetIds !== undefined) return;
  const remedy = "give two, or `loadBalancer.subnetIds` of its own";
  report(["subnetIds"], "is one subnet, and a load balancer stands in two zones", remedy);
}

export type AwsSettings = z.output<typeof awsSettings>;

/** What of a service cannot be on AWS; paths are below the service. */
export function awsProblems(spec: ServiceSpec): Problem[] {
  return cloudProblems(spec, {
    target: "aws",
    isOwn: (type) => instanceTypes.has(type) && type.includes("."),
    exampleHead: "m5.large",
    exampleWorker: "g5.xlarge",
    exampleUri: "s3://bucket/code.zip",
  });
}
