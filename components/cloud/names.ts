import { createHash } from "node:crypto";

const HASH_LENGTH = 6;

/**
 * The name of a version's cluster, of lower-case letters, digits and hyphens, and no other cluster's in the same account:
 * Ray's autoscaler ends whatever machine has the tag of its cluster and is none that it knows.
 *
 * @param stack - `PROJECT/STACK`
 */
export function clusterName(service: string, cluster: string, stack: string, limit: number): string {
  return fitted(`${service}-${cluster}`, stack, limit);
}

/** The name of what a service has once. */
export function serviceName(service: string, stack: string, limit: number): string {
  return fitted(service, stack, limit);
}

/** A name with a hash of itself and of its stack; what is too long is cut before that. */
function fitted(name: string, stack: string, limit: number): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([stack, name]))
    .digest("hex")
    .slice(0, HASH_LENGTH);
  const kept = name.slice(0, limit - HASH_LENGTH - 1).replace(/-+$/, "");
  return `${kept}-${hash}`;
}

/** A part of a name made of something that was not meant for one: `g5.2xlarge` is `g5-2xlarge`. */
export function namePart(text: string): string {
  const clean = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return clean === "" ? "workers" : clean;
}
