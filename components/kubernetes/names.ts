import { createHash } from "node:crypto";

/** What every object of a service is known by. */
export const labelPrefix = "rayshift.io";

/**
 * The RayService of a version's cluster. KubeRay takes at most 47 letters, with a letter first; the names of services and
 * versions are bounded so that they fit.
 */
export function rayServiceName(service: string, cluster: string): string {
  return `${service}-${cluster}`;
}

/** The value of a label: what does not fit is cut and keeps a hash of the whole. */
export function labelValue(text: string): string {
  const clean = text.replace(/[^-\w.]/g, "-").replace(/^[^a-z0-9]+|[^a-z0-9]+$/gi, "");
  if (clean === text && text.length <= 63) return text;
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 8);
  return `${clean.slice(0, 54).replace(/[^a-z0-9]+$/i, "")}-${hash}`.replace(/^-/, "");
}

/** A worker group's name as a part of pods' names: `g5.2xlarge` is `g5-2xlarge`. */
export function groupName(name: string): string {
  const clean = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return clean === "" ? "workers" : clean;
}

/**
 * What an object has that stays as long as its service. Its fields belong to one manager of server-side apply: Pulumi's plugin
 * makes up another one for each creation, so that what a killed update made would belong to a stranger.
 */
export function metadataOfService(service: string, stack: string) {
  return {
    labels: labelsOf(service, stack),
    annotations: { "pulumi.com/patchFieldManager": "rayshift" },
  };
}

/** Labels of what belongs to a service, and to one of its clusters. */
export function labelsOf(service: string, stack: string, rayService?: string): Record<string, string> {
  return {
    "app.kubernetes.io/name": service,
    "app.kubernetes.io/managed-by": "rayshift",
    [`${labelPrefix}/service`]: service,
    [`${labelPrefix}/stack`]: labelValue(stack),
    ...(rayService === undefined ? {} : { [`${labelPrefix}/cluster`]: rayService }),
  };
}
