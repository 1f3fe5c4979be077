import { IAMCustomRole } from "@pulumi/gcp/projects/iamcustomRole";
import { IAMMember } from "@pulumi/gcp/projects/iammember";
import { Account } from "@pulumi/gcp/serviceaccount/account";
import { IAMMember as AccountMember } from "@pulumi/gcp/serviceaccount/iammember";
import { Bucket } from "@pulumi/gcp/storage/bucket";
import { BucketIAMMember } from "@pulumi/gcp/storage/bucketIAMMember";
import type * as pulumi from "@pulumi/pulumi";
import { accountId, labelsOf, nameOfService, type Owner, roleId, workersPrefix } from "./names";
import { type GcpSettings, regionOf } from "./settings";

/** Looking, and using what the workers' templates name: rights that Compute Engine knows for a whole project only. */
export const lookingRights = [
  "compute.images.useReadOnly",
  "compute.instanceTemplates.useReadOnly",
  "compute.instances.list",
  "compute.subnetworks.use",
  "compute.zoneOperations.get",
];

/** What Ray's autoscaler does to workers, and to nothing else by {@link onlyWorkers}. */
export const launchingRights = [
  "compute.disks.create",
  "compute.disks.setLabels",
  "compute.instances.create",
  "compute.instances.delete",
  "compute.instances.get",
  "compute.instances.setLabels",
  "compute.instances.setMetadata",
  "compute.instances.setServiceAccount",
  "compute.instances.setTags",
];

/** A worker whose head is gone deletes itself. */
export const leavingRights = ["compute.instances.delete"];

/** Holds for the service's workers and their disks, by what their names begin with. */
export function onlyWorkers(owner: Owner, { project, zone }: Pick<GcpSettings, "project" | "zone">): string {
  const kind = (type: string, path: string) =>
    `(resource.type == "compute.googleapis.com/${type}" && ` +
    `resource.name.startsWith("projects/${project}/zones/${zone}/${path}/${workersPrefix(owner)}"))`;
  return `${kind("Instance", "instances")} || ${kind("Disk", "disks")}`;
}

/** Names of buckets are everybody's. */
export function bucketName(owner: Owner, { project }: Pick<GcpSettings, "project">): string {
  return nameOfService({ ...owner, stack: `${project}/${owner.stack}` }, "rayshift");
}

export interface Access {
  head: Account;
  worker: Account;
  /** Has the Serve config of each version, for a head that starts anew. */
  bucket: Bucket;
  /** Before an instance starts. */
  ready: pulumi.Resource[];
}

/** Accounts of heads and workers with the rights that they need and no others, and the bucket of the versions' configs. */
export function access(owner: Owner, settings: GcpSettings, options: pulumi.CustomResourceOptions): Access {
  const { project } = settings;
  const account = (role: "head" | "worker") =>
    new Account(
      `${role}-account`,
      { project, accountId: accountId(owner, role), displayName: `Ray ${role} of ${owner.service}` },
      options,
    );
  const head = account("head");
  const worker = account("worker");
  const grant = (name: string, to: Account, permissions: string[], expression?: string) => {
    const role = new IAMCustomRole(
      `${name}-role`,
      { project, roleId: roleId(owner, name), title: `Ray of ${owner.service}: ${name}`, permissions },
      options,
    );
    const condition = expression && { title: "workers", expression };
    return new IAMMember(
      `${name}-grant`,
      { project, role: role.name, member: member(to), ...(condition ? { condition } : {}) },
      options,
    );
  };
  const workersOnly = onlyWorkers(owner, settings);
  const ready: pulumi.Resource[] = [
    grant("looking", head, lookingRights),
    grant("launching", head, launchingRights, workersOnly),
    grant("leaving", worker, leavingRights, workersOnly),
    // Workers run as their own account, and as no other.
    new AccountMember(
      "acting-grant",
      { serviceAccountId: worker.name, role: "roles/iam.serviceAccountUser", member: member(head) },
      options,
    ),
    ...Object.entries({ head, worker }).map(
      ([name, to]) =>
        new IAMMember(
          `${name}-images-grant`,
          { project, role: "roles/artifactregistry.reader", member: member(to) },
          options,
        ),
    ),
  ];
  const bucket = new Bucket(
    "bucket",
    {
      project,
      name: bucketName(owner, settings),
      location: regionOf(settings),
      uniformBucketLevelAccess: true,
      publicAccessPrevention: "enforced",
      forceDestroy: true,
      labels: labelsOf(owner),
    },
    options,
  );
  ready.push(
    new BucketIAMMember(
      "bucket-grant",
      { bucket: bucket.name, role: "roles/storage.objectViewer", member: member(head) },
      options,
    ),
  );
  return { head, worker, bucket, ready };
}

export const member = ({ email }: Account): pulumi.Output<string> =>
  email.apply((address) => `serviceAccount:${address}`);
