import { type Placement, place, recordOf } from "../../components/placement";
import { parseRecord, type RolloutRecord, stateDigest, type Version } from "../../components/record";
import { parseServiceSpec, type ServiceSpec } from "../../components/serviceSpec";
import type { StackConfig } from "../../components/stackConfig";
import { specDigest } from "../../components/version";
import { primaryOnly, type Waypoint } from "../../rollout/plan";

export const startedAt = "2026-01-31T12:00:00.000Z";
/** 120 minutes, the default, after {@link startedAt}. */
export const deadline = "2026-01-31T14:00:00.000Z";

export function spec(changes: Record<string, unknown> = {}): ServiceSpec {
  return parseServiceSpec({ name: "sample-service", applications: [{ import_path: "app:app" }], ...changes }).spec;
}

/**
 * A version that differs from others by its name, in its applications only. Their runtime environment keeps the program
 * from looking for their code on this host.
 */
export function version(name: string, changes: Record<string, unknown> = {}): Version {
  const application = { import_path: "app:app", args: { name }, runtime_env: { env_vars: { VERSION: name } } };
  const own = spec({ version_name: name, applications: [application], ...changes });
  return { name, spec: own, digest: specDigest(own) };
}

export const v1 = version("v1");
export const v2 = version("v2");
export const v3 = version("v3");

/** The config as it is read when only these keys are set. */
export function config(changes: Partial<StackConfig> = {}): StackConfig {
  return {
    target: "local",
    service: v2.spec,
    rolloutTimeoutMinutes: 120,
    drainTimeoutSeconds: 60,
    startupTimeoutSeconds: 600,
    idleTimeoutSeconds: 60,
    autoRollback: true,
    notices: [],
    ...changes,
  };
}

/** v1 alone. */
export const running: RolloutRecord = {
  phase: "RUNNING",
  primary: { ...v1, cluster: "v1", capacity: null, traffic: 100 },
  digest: stateDigest({ ...v1, cluster: "v1" }),
};

/** v2 over v1 at [primary capacity, canary capacity, canary traffic]. */
export function rollingOut(
  [primaryCapacity, canaryCapacity, canaryTraffic]: readonly [number, number, number],
  surge?: number,
): RolloutRecord {
  return {
    phase: "ROLLING_OUT",
    primary: {
      ...v1,
      cluster: "v1",
      capacity: primaryCapacity === 100 ? null : primaryCapacity,
      traffic: 100 - canaryTraffic,
    },
    canary: { ...v2, cluster: "v2", capacity: canaryCapacity, traffic: canaryTraffic },
    startedAt,
    deadline,
    ...(surge === undefined ? {} : { surge }),
    digest: running.digest,
  };
}

/** What an update leaves in the stack: it goes through JSON and is checked on its way back. */
export function recordAfter(placement: Placement): RolloutRecord {
  const record = parseRecord(JSON.parse(JSON.stringify(recordOf(placement))));
  if (record === undefined) throw new Error("no record");
  return record;
}

export function placing(
  changes: Partial<StackConfig>,
  wanted: Version,
  recorded: RolloutRecord | undefined,
  now = new Date(startedAt),
): Placement {
  return place(config({ service: wanted.spec, ...changes }), wanted, recorded, now);
}

/** Where a placement ends, for the two versions of the record it starts from. */
export function endOf(placement: Placement, recorded: RolloutRecord): Waypoint {
  if (placement.primary.name !== recorded.primary.name) {
    return { primaryCapacity: 0, canaryCapacity: placement.primary.capacity ?? 100, canaryTraffic: 100 };
  }
  if (placement.canary === undefined) return primaryOnly;
  return {
    primaryCapacity: placement.primary.capacity ?? 100,
    canaryCapacity: placement.canary.capacity ?? 100,
    canaryTraffic: placement.canary.traffic,
  };
}
