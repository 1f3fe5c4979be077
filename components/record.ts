import { createHash } from "node:crypto";
import { z } from "zod";
import type { ServiceSpec } from "./serviceSpec";

/** The files of a version's `working_dir`: where they were, and what they are. */
export interface WorkingDirectory {
  /** Absolute folder; need not exist any more once the version has been deployed. */
  source: string;
  /** sha256 over the names and contents. */
  digest: string;
  excludes: string[];
}

/** One immutable version of the service, as wanted or as recorded. */
export interface Version {
  /** `version_name`, or a short hash of the spec. */
  name: string;
  spec: ServiceSpec;
  /** The spec as the user wrote it, so that a rollback can put it back into the config like that; absent in old records. */
  written?: Record<string, unknown> | undefined;
  /** sha256 of the spec and of the working directory's content. */
  digest: string;
  workingDirectory?: WorkingDirectory | undefined;
}

/** A version in its place: which cluster runs it, at which capacity, with how much of the traffic. */
export interface PlacedVersion extends Version {
  /** Part of the cluster's resource names. The version's name, unless the version came by an in-place update. */
  cluster: string;
  /** Percent, or null for unconstrained: everything runs, and autoscaling is free. */
  capacity: number | null;
  /** Percent of the requests. */
  traffic: number;
}

/** What each command and each update goes on from; see {@link RolloutRecord.phase} for the words. */
export type Phase =
  /** The primary version alone. */
  | "RUNNING"
  /** Towards the canary, or held at a split. */
  | "ROLLING_OUT"
  /** Back to the primary. */
  | "ROLLING_BACK";

/** A version that was taken back by itself: it is not tried again as it is, unless somebody asks for that. */
export interface RejectedVersion {
  /** Its name. */
  version: string;
  digest: string;
  /** Why, in Ray's words. */
  reason: string;
  /** ISO time. */
  at: string;
}

/** The stack output `rollout`: all that the next update needs to know about the versions that run. */
export interface RolloutRecord {
  phase: Phase;
  primary: PlacedVersion;
  canary?: PlacedVersion | undefined;
  /** Only during a rollout: ISO times of its start and of the moment it is rolled back at the latest. */
  startedAt?: string | undefined;
  deadline?: string | undefined;
  /** Percent; absent when the rollout has no surge limit. */
  surge?: number | undefined;
  /** Digest of the state that a rollback ends with. */
  digest: string;
  /** The last of them, oldest first; absent when there is none. */
  rejected?: RejectedVersion[] | undefined;
}

const placedVersion = z.object({
  name: z.string(),
  spec: z.custom<ServiceSpec>((value) => typeof value === "object" && value !== null),
  written: z.record(z.string(), z.unknown()).optional(),
  digest: z.string(),
  workingDirectory: z.object({ source: z.string(), digest: z.string(), excludes: z.array(z.string()) }).optional(),
  cluster: z.string(),
  capacity: z.number().nullable(),
  traffic: z.number(),
});

export const rejectedVersion = z.object({
  version: z.string(),
  digest: z.string(),
  reason: z.string(),
  at: z.string(),
});

const rolloutRecord = z.object({
  phase: z.enum(["RUNNING", "ROLLING_OUT", "ROLLING_BACK"]),
  primary: placedVersion,
  canary: placedVersion.optional(),
  startedAt: z.string().optional(),
  deadline: z.string().optional(),
  surge: z.number().optional(),
  digest: z.string(),
  rejected: z.array(rejectedVersion).optional(),
});

/** The record in a stack's output `rollout`, or undefined when nothing was deployed. Throws on any other shape. */
export function parseRecord(output: unknown): RolloutRecord | undefined {
  return output === undefined || output === null ? undefined : rolloutRecord.parse(output);
}

/** The moment at which a rollout is rolled back at the latest; ISO times. */
export function deadlineOf(startedAt: string, timeoutMinutes: number): string {
  return new Date(Date.parse(startedAt) + timeoutMinutes * 60_000).toISOString();
}

/** Digest of a service that runs one version alone. */
export function stateDigest(primary: Pick<PlacedVersion, "name" | "digest" | "cluster">): string {
  return createHash("sha256").update([primary.name, primary.digest, primary.cluster].join("\n")).digest("hex");
}
