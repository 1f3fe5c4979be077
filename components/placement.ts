import {
  canReachInOneUpdate,
  check,
  type Direction,
  destinationOf,
  directionOf,
  equal,
  type Goal,
  nextWaypoint,
  type Waypoint,
} from "../rollout/plan";
import {
  deadlineOf,
  type Phase,
  type PlacedVersion,
  type RejectedVersion,
  type RolloutRecord,
  stateDigest,
  type Version,
} from "./record";
import type { StackConfig } from "./stackConfig";
import { differsOnlyInApplications } from "./version";

/**
 * What one update makes of the service: a pure function of the config, the version wanted and the stack's own record.
 * Everything that a single update may not do is refused here, before anything changes.
 */
export interface Placement {
  phase: Phase;
  primary: PlacedVersion;
  canary?: PlacedVersion | undefined;
  /** The version whose cluster this update ends. */
  leaving?: PlacedVersion | undefined;
  /** Which side receives traffic, so which side grows first. `concurrent`: nothing waits for anything. */
  order: Direction | "concurrent";
  startedAt?: string | undefined;
  deadline?: string | undefined;
  surge?: number | undefined;
  /** Versions that were taken back by themselves, this update's included. */
  rejected?: RejectedVersion[] | undefined;
  notices: string[];
}

/** How many rejected versions a stack remembers. */
const mostRejected = 10;

/** An update that would not be safe, or that says two things at once. Nothing was changed. */
export class Refusal extends Error {
  override readonly name = "Refusal";

  static isInstance(error: unknown): error is Refusal {
    return error instanceof Error && error.name === "Refusal";
  }
}

/** The record that a finished update leaves in the stack. */
export function recordOf(placement: Placement): RolloutRecord {
  const { phase, primary, canary, startedAt, deadline, rejected } = placement;
  const surge = canary === undefined ? undefined : placement.surge;
  return { phase, primary, canary, startedAt, deadline, surge, digest: stateDigest(primary), rejected };
}

/** Where a record stands; without a canary all capacity and traffic are the primary's. */
export function waypointOf({ primary, canary }: Pick<RolloutRecord, "primary" | "canary">): Waypoint {
  return {
    primaryCapacity: primary.capacity ?? 100,
    canaryCapacity: canary === undefined ? 0 : (canary.capacity ?? 100),
    canaryTraffic: canary?.traffic ?? 0,
  };
}

export function place(config: StackConfig, wanted: Version, recorded: RolloutRecord | undefined, now: Date): Placement {
  const placement = decide(config, wanted, recorded, now);
  const rejected = rejectedAfter(placement, config.rejected, recorded?.rejected ?? []);
  return rejected.length === 0 ? placement : { ...placement, rejected };
}

/** A version that is in charge was good after all, or was tried again and is. */
function rejectedAfter(
  { primary }: Placement,
  latest: RejectedVersion | undefined,
  before: RejectedVersion[],
): RejectedVersion[] {
  const all = latest === undefined ? before : [...before.filter(({ digest }) => digest !== latest.digest), latest];
  return all.filter(({ digest }) => digest !== primary.digest).slice(-mostRejected);
}

/** Throws when the version was rejected as it is. */
export function refuseRejected(wanted: Version, recorded: Pick<RolloutRecord, "rejected">): void {
  const rejection = recorded.rejected?.find(({ digest }) => digest === wanted.digest);
  if (rejection === undefined) return;
  throw new Refusal(
    `version ${wanted.name} was rolled back at ${rejection.at}: ${rejection.reason}\nIt is not tried again until its spec ` +
      "changes. Where the reason lay elsewhere, run `rayshift deploy --retry` with the same file. Nothing was changed.",
  );
}

function decide(config: StackConfig, wanted: Version, recorded: RolloutRecord | undefined, now: Date): Placement {
  if (recorded === undefined) return firstDeploy(config, wanted);
  refuseReusedName(wanted, recorded);
  if (config.waypoint !== undefined) return atWaypoint(config, config.waypoint, wanted, recorded);
  if (config.inPlace === true) return inPlace(wanted, recorded);
  if (recorded.canary === undefined) {
    return wanted.digest === recorded.primary.digest ? steady(recorded.primary) : start(config, wanted, recorded, now);
  }
  if (wanted.digest === recorded.primary.digest) return rollBack(config, recorded, recorded.canary);
  if (wanted.digest === recorded.canary.digest) return goOn(config, recorded, recorded.canary);
  throw new Refusal(
    `version ${wanted.name} is wanted while version ${recorded.canary.name} rolls out over ${recorded.primary.name}: ` +
      "one update cannot replace a canary. Run `rayshift deploy` with the same file; it goes back first and then rolls out " +
      `${wanted.name}. Nothing was changed.`,
  );
}

function alone(version: Version, cluster: string): PlacedVersion {
  return { ...version, cluster, capacity: null, traffic: 100 };
}

function steady(primary: PlacedVersion, notices: string[] = []): Placement {
  return { phase: "RUNNING", primary: alone(primary, primary.cluster), order: "forward", notices };
}

function firstDeploy(config: StackConfig, wanted: Version): Placement {
  const ignored = [
    config.canaryPercent === undefined ? [] : ["canaryPercent"],
    config.maxSurgePercent === undefined ? [] : ["maxSurgePercent"],
    config.inPlace === true ? ["inPlace"] : [],
  ].flat();
  const notices =
    ignored.length === 0 ? [] : [`first deploy: there is nothing to roll out from, ${ignored.join(" and ")} ignored`];
  return steady(alone(wanted, wanted.name), notices);
}

function refuseReusedName(wanted: Version, { primary, canary }: RolloutRecord): void {
  for (const running of [primary, canary]) {
    if (running !== undefined && running.name === wanted.name && running.digest !== wanted.digest) {
      throw new Refusal(
        `version_name ${wanted.name} is the name of a version that runs with another spec: a version is immutable. ` +
          "Give the new spec another `version_name`, or leave it out. Nothing was changed.",
      );
    }
  }
}

/** A name for the new version's cluster that the running one does not have (an in-place update keeps its cluster's). */
function freeClusterName(version: Version, taken: PlacedVersion): string {
  return version.name === taken.cluster ? `${version.name}-2` : version.name;
}

/** The exact waypoint that the driver wrote: its versions must be those that the stack and the config know. */
function atWaypoint(
  config: StackConfig,
  waypoint: NonNullable<StackConfig["waypoint"]>,
  wanted: Version,
  recorded: RolloutRecord,
): Placement {
  const { primary } = recorded;
  const canary = recorded.canary ?? (wanted.digest === primary.digest ? undefined : placedNew(wanted, primary));
  const foreign =
    waypoint.primary !== primary.name ||
    (canary !== undefined && waypoint.canary !== canary.name) ||
    ![primary.digest, canary?.digest].includes(wanted.digest);
  if (foreign) {
    throw new Refusal(
      `the config has a waypoint for ${waypoint.canary} over ${waypoint.primary}, but the stack runs ${primary.name}` +
        `${recorded.canary === undefined ? "" : ` with canary ${recorded.canary.name}`} and version ${wanted.name} is wanted. ` +
        "Run `rayshift deploy` or `rayshift rollback`, which go on from what runs, or take the waypoint out with " +
        "`pulumi config rm rayshift:waypoint`. Nothing was changed.",
    );
  }
  const { primaryCapacity, canaryCapacity, canaryTraffic } = waypoint;
  if (waypoint.immediate === true || canary === undefined) {
    const { primary: whole, ...rest } = steady(primary);
    const order = waypoint.immediate === true ? "concurrent" : "back";
    // What is left of a primary may have to serve alone until there is room for the rest of it.
    const capacity = waypoint.immediate === true && primaryCapacity < 100 ? primaryCapacity : null;
    return { ...rest, primary: { ...whole, capacity }, leaving: recorded.canary, order };
  }
  const problems = check({ primaryCapacity, canaryCapacity, canaryTraffic }, waypoint.surge);
  if (problems.length > 0) {
    throw new Refusal(
      `the waypoint in the config is not safe: ${problems.map(({ message }) => message).join("; ")}. Run \`rayshift deploy\`. Nothing was changed.`,
    );
  }
  const { direction, surge, startedAt } = waypoint;
  // A lower split goes back as well; only a rollback wants the primary's version.
  const phase = wanted.digest === primary.digest ? "ROLLING_BACK" : "ROLLING_OUT";
  return { ...placed(config, primary, canary, waypoint, direction, surge, startedAt), phase };
}

function placedNew(version: Version, primary: PlacedVersion): PlacedVersion {
  return { ...version, cluster: freeClusterName(version, primary), capacity: 0, traffic: 0 };
}

function placed(
  config: StackConfig,
  primary: PlacedVersion,
  canary: PlacedVersion,
  at: Waypoint,
  order: Direction,
  surge: number | undefined,
  startedAt: string,
): Placement {
  return {
    phase: "ROLLING_OUT",
    // A primary at 100 % stays unconstrained: there is nothing to send it, before a rollout and after a rollback.
    primary: {
      ...primary,
      capacity: at.primaryCapacity === 100 ? null : at.primaryCapacity,
      traffic: 100 - at.canaryTraffic,
    },
    canary: { ...canary, capacity: at.canaryCapacity, traffic: at.canaryTraffic },
    order,
    surge,
    startedAt,
    deadline: deadlineOf(startedAt, config.rolloutTimeoutMinutes),
    notices: [],
  };
}

function promoted(recorded: RolloutRecord, canary: PlacedVersion, surge: number | undefined): Placement {
  return { ...steady(canary), leaving: recorded.primary, order: "forward", surge };
}

function start(config: StackConfig, wanted: Version, recorded: RolloutRecord, now: Date): Placement {
  refuseRejected(wanted, recorded);
  const canary = placedNew(wanted, recorded.primary);
  return advance(config, recorded, canary, config.maxSurgePercent, now.toISOString());
}

function goOn(config: StackConfig, recorded: RolloutRecord, canary: PlacedVersion): Placement {
  const startedAt = recorded.startedAt ?? new Date(0).toISOString();
  const held = config.canaryPercent === canary.traffic && canary.traffic < 100;
  if (held && recorded.phase === "ROLLING_OUT") {
    return placed(config, recorded.primary, canary, waypointOf(recorded), "forward", recorded.surge, startedAt);
  }
  return advance(config, recorded, canary, config.maxSurgePercent ?? recorded.surge, startedAt);
}

/** To the split that is wanted, in this one update. */
function advance(
  config: StackConfig,
  recorded: RolloutRecord,
  canary: PlacedVersion,
  surge: number | undefined,
  startedAt: string,
): Placement {
  const traffic = config.canaryPercent ?? 100;
  const goal: Goal = { kind: "split", traffic, surge };
  const from = waypointOf(recorded);
  if (!reachedInOneUpdate(from, goal)) {
    refuseSteps(`${from.canaryTraffic}% to ${traffic}% of the traffic`, surge, "rayshift deploy");
  }
  if (traffic === 100) return promoted(recorded, canary, surge);
  return placed(config, recorded.primary, canary, destinationOf(goal), directionOf(from, goal), surge, startedAt);
}

function rollBack(config: StackConfig, recorded: RolloutRecord, canary: PlacedVersion): Placement {
  const surge = config.maxSurgePercent ?? recorded.surge;
  if (!reachedInOneUpdate(waypointOf(recorded), { kind: "rollback", surge })) {
    refuseSteps(`back from ${canary.traffic}% of the traffic`, surge, "rayshift rollback");
  }
  return { ...steady(recorded.primary), leaving: canary, order: "back", surge };
}

/** Whether one safe update goes all the way; without a surge it may skip the rungs of the ladder. */
function reachedInOneUpdate(from: Waypoint, goal: Goal): boolean {
  const destination = destinationOf(goal);
  const next = goal.surge === undefined ? destination : nextWaypoint(from, goal);
  return equal(next, destination) && canReachInOneUpdate(from, destination, goal.surge);
}

function refuseSteps(what: string, surge: number | undefined, command: string): never {
  throw new Refusal(
    `${what} takes more than one update under a surge of ${surge}%: one alone would exceed ${100 + (surge ?? 0)}% of ` +
      `capacity, or leave requests without replicas. Run \`${command}\`, which does it in several. Nothing was changed.`,
  );
}

function inPlace(wanted: Version, recorded: RolloutRecord): Placement {
  const { primary, canary } = recorded;
  if (canary !== undefined) {
    throw new Refusal(
      `an in-place update of ${primary.name} is refused while ${canary.name} rolls out. Finish it with \`rayshift deploy\` or ` +
        "`rayshift rollback` first. Nothing was changed.",
    );
  }
  const changed = differsOnlyInApplications(primary, wanted);
  if (changed.length > 0) {
    throw new Refusal(
      `an in-place update changes \`applications\` only, but ${changed.map((key) => `\`${key}\``).join(", ")} changed as well. ` +
        "Deploy without `inPlace` to roll the version out on a cluster of its own. Nothing was changed.",
    );
  }
  return steady({ ...primary, ...wanted, cluster: primary.cluster });
}
