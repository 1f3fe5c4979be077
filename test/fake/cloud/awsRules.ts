import { createHash } from "node:crypto";
import type { Bag, CloudObject } from "./objects";
import type { CloudRules } from "./rules";

type Declared = Omit<CloudObject, "id" | "outputs">;

const id = (prefix: string, name: string) =>
  `${prefix}-${createHash("sha256").update(name).digest("hex").slice(0, 17)}`;
const arn = (service: string, rest: string) => `arn:aws:${service}:us-west-2:123456789012:${rest}`;

/** A loopback address that goes by the name. */
export function loopbackOf(name: string): string {
  const [a = 0, b = 0, c = 0] = createHash("sha256").update(name).digest();
  return `127.${64 + (a % 64)}.${b}.${1 + (c % 250)}`;
}

const text = (bag: Bag, key: string): string => String(bag[key] ?? "");
const listOf = (value: unknown): Bag[] => (Array.isArray(value) ? value : []) as Bag[];

/** What AWS makes up for the types that rayshift declares. Names lead to loopback addresses, where the fakes listen. */
function learned({ type, name, inputs }: Declared, before: CloudObject | undefined): { id: string; outputs: Bag } {
  const own = text(inputs, "name");
  switch (type) {
    case "aws:ec2/securityGroup:SecurityGroup":
      return { id: id("sg", own), outputs: { arn: arn("ec2", `security-group/${id("sg", own)}`) } };
    case "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule":
    case "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule":
      return { id: id("sgr", name), outputs: {} };
    case "aws:ec2/launchTemplate:LaunchTemplate": {
      const latestVersion = Number(before?.outputs.latestVersion ?? 0) + 1;
      return { id: id("lt", own), outputs: { arn: arn("ec2", `launch-template/${id("lt", own)}`), latestVersion } };
    }
    case "aws:iam/role:Role":
      return { id: own, outputs: { arn: `arn:aws:iam::123456789012:role/${own}` } };
    case "aws:iam/instanceProfile:InstanceProfile":
      return { id: own, outputs: { arn: `arn:aws:iam::123456789012:instance-profile/${own}` } };
    case "aws:iam/rolePolicy:RolePolicy":
      return { id: `${text(inputs, "role")}:${own}`, outputs: {} };
    case "aws:iam/rolePolicyAttachment:RolePolicyAttachment":
      return { id: `${text(inputs, "role")}/${text(inputs, "policyArn")}`, outputs: {} };
    case "aws:autoscaling/group:Group":
      return { id: own, outputs: { arn: arn("autoscaling", `autoScalingGroup:x:autoScalingGroupName/${own}`) } };
    case "aws:lb/loadBalancer:LoadBalancer": {
      const of = arn("elasticloadbalancing", `loadbalancer/app/${own}/1`);
      return { id: of, outputs: { arn: of, dnsName: loopbackOf(own) } };
    }
    case "aws:lb/listener:Listener": {
      const of = arn("elasticloadbalancing", `listener/app/${name}/1`);
      return { id: of, outputs: { arn: of } };
    }
    case "aws:lb/listenerRule:ListenerRule": {
      const of = arn("elasticloadbalancing", `listener-rule/app/${name}/1`);
      return { id: of, outputs: { arn: of } };
    }
    case "aws:lb/targetGroup:TargetGroup": {
      const of = arn("elasticloadbalancing", `targetgroup/${own}/1`);
      return { id: of, outputs: { arn: of } };
    }
    case "aws:route53/zone:Zone":
      return {
        id: id("Z", own),
        outputs: { zoneId: id("Z", own), arn: `arn:aws:route53:::hostedzone/${id("Z", own)}` },
      };
    case "aws:route53/record:Record":
      return { id: `${text(inputs, "zoneId")}_${own}_A`, outputs: { fqdn: loopbackOf(own) } };
    case "aws:secretsmanager/secret:Secret": {
      const of = arn("secretsmanager", `secret:${own}-AbCdEf`);
      return { id: of, outputs: { arn: of } };
    }
    case "aws:secretsmanager/secretVersion:SecretVersion":
      return { id: `${text(inputs, "secretId")}|1`, outputs: {} };
    case "aws:s3/bucket:Bucket": {
      const bucket = `${name}-0a1b2c3`;
      return { id: bucket, outputs: { bucket, arn: `arn:aws:s3:::${bucket}` } };
    }
    case "aws:s3/bucketObjectv2:BucketObjectv2":
      return { id: `${text(inputs, "bucket")}/${text(inputs, "key")}`, outputs: {} };
    case "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock":
      return { id: `${text(inputs, "bucket")}-block`, outputs: {} };
    default:
      throw new Error(`the fake of AWS has no ${type}`);
  }
}

/** Lengths that AWS's API refuses names beyond. */
const nameLimits: Record<string, number> = {
  "aws:lb/targetGroup:TargetGroup": 32,
  "aws:lb/loadBalancer:LoadBalancer": 32,
  "aws:iam/role:Role": 64,
  "aws:iam/instanceProfile:InstanceProfile": 128,
  "aws:ec2/launchTemplate:LaunchTemplate": 128,
  "aws:ec2/securityGroup:SecurityGroup": 255,
  "aws:autoscaling/group:Group": 255,
  "aws:secretsmanager/secret:Secret": 512,
};

/** Why AWS's API would refuse the inputs; the same rules as those in its reference. */
export function awsRefusal({ type, name, inputs }: Declared, all: readonly CloudObject[]): string | undefined {
  const limit = nameLimits[type];
  if (limit !== undefined && text(inputs, "name").length > limit) return `the name is longer than ${limit}`;
  if (type === "aws:ec2/launchTemplate:LaunchTemplate") {
    const script = Buffer.from(text(inputs, "userData"), "base64");
    if (script.length > 16_384) return "User data is limited to 16384 bytes";
  }
  if (type !== "aws:lb/listenerRule:ListenerRule") return undefined;
  const twin = all.find(
    (other) => other.type === type && other.name !== name && other.inputs.priority === inputs.priority,
  );
  if (twin !== undefined) return `PriorityInUse: ${twin.name} has priority ${inputs.priority}`;
  return listOf(inputs.conditions)
    .map(conditionProblem)
    .concat(listOf(inputs.actions).map(actionProblem))
    .find(Boolean);
}

function conditionProblem({ httpHeader }: Bag): string | undefined {
  const { httpHeaderName = "", values = [] } = (httpHeader ?? {}) as { httpHeaderName?: string; values?: string[] };
  if (httpHeaderName.length > 40) return "a header's name has at most 40 letters";
  if (values.some((value) => value.length > 128)) return "a header's value has at most 128 letters";
  return values.length > 5 ? "a rule has at most 5 values" : undefined;
}

function actionProblem({ forward, fixedResponse }: Bag): string | undefined {
  const { targetGroups = [] } = (forward ?? {}) as { targetGroups?: Array<{ weight: number }> };
  if (targetGroups.length > 5) return "an action has at most 5 target groups";
  const wrong = targetGroups.find(({ weight }) => !Number.isInteger(weight) || weight < 0 || weight > 999);
  if (wrong !== undefined) return `the weight ${wrong.weight} is not from 0 to 999`;
  const { messageBody = "" } = (fixedResponse ?? {}) as { messageBody?: string };
  return messageBody.length > 1024 ? "a fixed response has at most 1024 letters" : undefined;
}

/** AWS as far as the tests need it. */
export const awsRules: CloudRules = {
  version: "7.48.0",
  replacing: {
    "aws:ec2/securityGroup:SecurityGroup": ["name", "vpcId", "description"],
    "aws:ec2/launchTemplate:LaunchTemplate": ["name"],
    "aws:iam/role:Role": ["name"],
    "aws:iam/instanceProfile:InstanceProfile": ["name"],
    "aws:iam/rolePolicy:RolePolicy": ["name", "role"],
    "aws:autoscaling/group:Group": ["name"],
    "aws:lb/loadBalancer:LoadBalancer": ["name", "internal", "loadBalancerType"],
    "aws:lb/listener:Listener": ["loadBalancerArn"],
    "aws:lb/listenerRule:ListenerRule": ["listenerArn"],
    "aws:lb/targetGroup:TargetGroup": ["name", "port", "protocol", "targetType", "vpcId"],
    "aws:route53/record:Record": ["name", "type", "zoneId"],
    "aws:route53/zone:Zone": ["name"],
    "aws:secretsmanager/secret:Secret": ["name"],
    "aws:s3/bucketObjectv2:BucketObjectv2": ["bucket", "key"],
  },
  references: ["arn", "zoneId"],
  isReference: (reference) => /^(arn:aws:(?!acm)|sg-|lt-|Z-)/.test(reference),
  learned,
  refusal: awsRefusal,
};

/** The same for Pulumi's mocks; undefined for what is not AWS's. */
export function madeByAws(type: string, name: string, inputs: Bag): { id: string; outputs: Bag } | undefined {
  return type.startsWith("aws:") ? learned({ type, name, inputs }, undefined) : undefined;
}
