import { createHash } from "node:crypto";
import { clusterName, namePart, serviceName } from "../cloud/names";

/** Google Cloud's own bounds. */
const RESOURCE_NAME = 63;
const ACCOUNT_ID = 30;
/** Ray names a worker `ray-<cluster>-worker-<8 digits>-compute`, which has to be a resource's name. */
const RAY_CLUSTER_NAME = 35;

/** Whose resources are named: a service of a stack. */
export interface Owner {
  service: string;
  /** `PROJECT/STACK` */
  stack: string;
}

/** Of a version's cluster: Ray's name of it, and that of what it is made of. */
export function nameOfCluster({ service, stack }: Owner, cluster: string): string {
  return clusterName(service, cluster, stack, RAY_CLUSTER_NAME);
}

/** Of a head. Ray's provider for Google Cloud knows a machine's kind by the last part of its name. */
export function nameOfHead(owner: Owner, cluster: string): string {
  return `${nameOfCluster(owner, cluster)}-head-compute`;
}

/** Of a worker group's template. */
export function nameOfTemplate(owner: Owner, cluster: string, group: string): string {
  return bounded(`${nameOfCluster(owner, cluster)}-${namePart(group)}`, RESOURCE_NAME);
}

/** Of what a service has once. */
export function nameOfService({ service, stack }: Owner, part?: string): string {
  return `${serviceName(service, stack, RESOURCE_NAME - 20)}${part === undefined ? "" : `-${part}`}`;
}

/** Of a URL map, its proxy and its forwarding rule: those of the requests, and those of the versions by their header. */
export function nameOfEntrance(owner: Owner, entrance: "service" | "versions"): string {
  return nameOfService(owner, entrance === "service" ? undefined : entrance);
}

/** The part of a service account's address before the @. */
export function accountId({ service, stack }: Owner, role: "head" | "worker"): string {
  return serviceName(`${service}-${role}`, stack, ACCOUNT_ID);
}

/** Id of a custom role, which knows no hyphens. */
export function roleId(owner: Owner, role: string): string {
  return `rayshift_${nameOfService(owner)}_${role}`.replaceAll("-", "_");
}

/** What the names of all workers of a service begin with, and of services whose names begin with its name. */
export function workersPrefix({ service }: Owner): string {
  return `ray-${service}-`;
}

/** Labels of what belongs to a service; values are lower-case letters, digits, hyphens and underscores. */
export function labelsOf({ service, stack }: Owner): Record<string, string> {
  return { "rayshift-service": service, "rayshift-stack": bounded(namePart(stack), RESOURCE_NAME) };
}

/** A name that fits: one that is too long is cut and keeps a hash of the whole. */
function bounded(name: string, most: number): string {
  if (name.length <= most) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 6);
  return `${name.slice(0, most - 7).replace(/-+$/, "")}-${hash}`;
}
