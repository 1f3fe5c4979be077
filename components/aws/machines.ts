import { LaunchTemplate, type LaunchTemplateArgs } from "@pulumi/aws/ec2/launchTemplate";
import { InstanceProfile } from "@pulumi/aws/iam/instanceProfile";
import { Role } from "@pulumi/aws/iam/role";
import { RolePolicy } from "@pulumi/aws/iam/rolePolicy";
import { RolePolicyAttachment } from "@pulumi/aws/iam/rolePolicyAttachment";
import * as pulumi from "@pulumi/pulumi";
import { machinesOnly } from "./policies";
import type { AwsSettings } from "./settings";

/** AWS takes at most so many bytes of user data. */
const USER_DATA_LIMIT = 16_384;
const ROLE_NAME_LIMIT = 64;

/** A version is immutable, and so are its machines: settings of the stack are for the clusters to come. */
const frozen = [
  "imageId",
  "instanceType",
  "userData",
  "blockDeviceMappings",
  "instanceMarketOptions",
  "metadataOptions",
  "tagSpecifications",
];

export interface MachineRole {
  role: Role;
  profile: InstanceProfile;
  /** All that a machine needs before it starts. */
  ready: pulumi.Resource[];
}

/** A role that a cluster's machines have, and its profile. */
export function machineRole(
  kind: "head" | "worker",
  {
    cluster,
    name,
    settings,
    policyArns,
  }: { cluster: string; name: string; settings: AwsSettings; policyArns: readonly string[] },
  options: pulumi.CustomResourceOptions,
): MachineRole {
  const own = `${name}-${kind}`.slice(-ROLE_NAME_LIMIT);
  const { permissionsBoundary } = settings;
  const role = new Role(
    `${kind}-role-${cluster}`,
    {
      name: own,
      assumeRolePolicy: machinesOnly,
      ...(permissionsBoundary === undefined ? {} : { permissionsBoundary }),
    },
    options,
  );
  const attached = policyArns.map(
    (policyArn, index) =>
      new RolePolicyAttachment(`${kind}-policy-${index}-${cluster}`, { role: role.name, policyArn }, options),
  );
  const profile = new InstanceProfile(`${kind}-profile-${cluster}`, { name: own, role: role.name }, options);
  return { role, profile, ready: [profile, ...attached] };
}

/** The rights of a role. */
export function rolePolicy(
  kind: "head" | "worker",
  cluster: string,
  role: Role,
  policy: pulumi.Input<string>,
  options: pulumi.CustomResourceOptions,
): RolePolicy {
  return new RolePolicy(`${kind}-rights-${cluster}`, { name: "rayshift", role: role.name, policy }, options);
}

export interface TemplateArgs {
  name: string;
  imageId: string;
  instanceType: string;
  spot: boolean;
  script: pulumi.Input<string>;
  profile: InstanceProfile;
  securityGroupId: pulumi.Input<string>;
  settings: AwsSettings;
  /** Of the machines and their disks. */
  tags: Record<string, string>;
}

/** What machines of one kind are made from. One that shuts itself down is gone. */
export function launchTemplate(
  logicalName: string,
  { name, imageId, instanceType, spot, script, profile, securityGroupId, settings, tags }: TemplateArgs,
  options: pulumi.CustomResourceOptions,
): LaunchTemplate {
  const args: LaunchTemplateArgs = {
    name,
    imageId,
    instanceType,
    instanceInitiatedShutdownBehavior: "terminate",
    iamInstanceProfile: { arn: profile.arn },
    vpcSecurityGroupIds: [securityGroupId],
    metadataOptions: { httpEndpoint: "enabled", httpTokens: "required", httpPutResponseHopLimit: 1 },
    blockDeviceMappings: [
      {
        deviceName: settings.rootDevice,
        ebs: { volumeSize: settings.diskGiB, volumeType: "gp3", encrypted: "true", deleteOnTermination: "true" },
      },
    ],
    tagSpecifications: ["instance", "volume"].map((resourceType) => ({ resourceType, tags })),
    userData: pulumi.output(script).apply(userData),
    updateDefaultVersion: true,
    ...(spot ? { instanceMarketOptions: { marketType: "spot" } } : {}),
  };
  return new LaunchTemplate(logicalName, args, { ...options, ignoreChanges: frozen });
}

/** @throws Error where AWS would not take it */
function userData(script: string): string {
  const bytes = Buffer.byteLength(script);
  if (bytes > USER_DATA_LIMIT) {
    throw new Error(
      `the start script of a machine has ${bytes} bytes and AWS takes ${USER_DATA_LIMIT}: use fewer worker groups, or ` +
        "shorter `resources` of them",
    );
  }
  return Buffer.from(script).toString("base64");
}
