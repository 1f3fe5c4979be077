import { waypointOf } from "../components/placement";
import type { RolloutRecord } from "../components/record";
import type { ConfiguredWaypoint } from "../components/stackConfig";
import { CanaryInTheWay, EngineEnded, UpdateFailed } from "./errors";
import { type Inspection, inspect, primaryServes } from "./inspect";
import {
  canReachInOneUpdate,
  describeWaypoint,
  destinationOf,
  directionOf,
  equal,
  type Goal,
  nextWaypoint,
  planSummary,
  primaryOnly,
  type Waypoint,
} from "./plan";
import type { Deployed, Session } from "./session";
import type { Interruption } from "./watch";
import { deployedOutputs, reportReached, watchedUpdate } from "./watchedUpdate";
import { mayWithdraw, type Withdrawal, withdrawTraffic } from "./withdraw";

/** The two versions of a rollout, by name. */
export interface Versions {
  primary: string;
  canary: string;
}

/** How a walk ended. */
export type WalkEnd = { kind: "arrived" } | Interruption;

/** A rollout under way: where it is to go, and by when. */
export interface Rollout {
  versions: Versions;
  /** Of the canary's version; absent where nothing is known of it but its name. */
  digest: string | undefined;
  /** The stack has a cluster that its record does not know, from a first update that was broken off. */
  leftover?: boolean | undefined;
  /** Where that update was to lead. It is finished before anything grows on, so that the canary comes into the record. */
  begun?: Waypoint | undefined;
  goal: Goal;
  /** ISO time of the rollout's start. */
  startedAt: string;
  /** ISO time; after it a forward walk is given up. */
  deadline: string;
  withdrawal: Withdrawal;
}

/**
 * Walks a service to a goal, one update a waypoint. Each waypoint is planned from what really runs, not from the
 * record, so a walk goes on from wherever a failed or killed update left the service.
 *
 * @throws CanaryInTheWay when an update of a way back failed while the canary was unhealthy, and the primary serves
 */
export async function walkTo(session: Session, deployed: Deployed, rollout: Rollout): Promise<WalkEnd> {
  const { goal, versions } = rollout;
  const forward = goal.kind === "split";
  let current = deployed;
  let seen = await inspect(current.rollout, current.targets, session.signal);
  const { updates, peakCapacity } = planSummary(seen.at, goal);
  session.emit({ event: "planned", waypoints: updates.map(({ waypoint }) => waypoint), peakCapacity });
  let written: string | undefined;
  let leftover = rollout.leftover === true;
  for (;;) {
    const standing = waypointOf(current.rollout);
    const leap = leavesPrimary(seen, goal);
    const next = leap ? destinationOf(goal) : (begunBefore(current, rollout) ?? nextWaypoint(seen.at, goal));
    if (equal(next, seen.at) && equal(next, standing) && current.rollout.canary !== undefined && !seen.drifted)
      return { kind: "arrived" };
    if (seen.unhealthy.canary !== undefined && forward) {
      if (mayWithdraw(rollout.withdrawal, seen)) await withdrawTraffic(current);
      return { kind: "unhealthy", reason: seen.unhealthy.canary };
    }
    if (leap) {
      const why = seen.unhealthy.primary ?? seen.primary.waitsFor ?? "it does not answer";
      const message = `${versions.primary} is not well (${why}): all traffic goes to ${versions.canary} once that is healthy`;
      session.emit({ event: "notice", message });
    }
    if (written !== undefined && session.config.text() !== written) throw edited(session, seen.at);
    const began = Date.now();
    session.config.edit({ waypoint: waypointConfig(rollout, directionOf(seen.at, goal), next) });
    written = session.config.text();
    // What is gone, or stands elsewhere than the last update left it, the engine only sees when it looks; so does a
    // leftover that is dead. A primary that is left anyway is not made again.
    const looks = leap
      ? seen.gone.length > 1
      : leftover || seen.gone.length > 0 || seen.drifted || !equal(seen.at, standing);
    let unhealthy: string | undefined;
    const update = (refresh: boolean) =>
      watchedUpdate(session, current, {
        message: `${versions.canary}: ${next.canaryTraffic}% of the traffic, capacities ${next.primaryCapacity}% and ${next.canaryCapacity}%`,
        waypoint: next,
        canary: versions.canary,
        deadline: forward ? rollout.deadline : undefined,
        endWhenUnhealthy: forward,
        withdrawal: rollout.withdrawal,
        refresh,
        onLook: (looked) => {
          unhealthy = looked.unhealthy.canary ?? unhealthy;
        },
      });
    const end = await update(looks).catch(async (error: unknown) => {
      if (forward || !(error instanceof UpdateFailed) || error instanceof EngineEnded) throw error;
      const beside = unhealthy !== undefined && (await inspect(current.rollout, current.targets, session.signal));
      if (beside && primaryServes(beside)) throw new CanaryInTheWay(error.message);
      // The record may be ahead of what the engine knows: a broken-off update writes it before its last operation ends. A
      // primary that only then was shrunk the engine believes to be whole.
      if (looks) throw error;
      return update(true);
    });
    leftover = false;
    if (end !== undefined) return end;
    current = await recordedAfter(session, current, versions, rollout, next);
    seen = await inspect(current.rollout, current.targets, session.signal);
    reportReached(session, next, seen, began);
    if (!equal(seen.at, next) || seen.drifted) throw elsewhere(next, seen);
  }
}

/** Somebody else says what is wanted now: not to be overwritten, and not to be guessed. */
function edited({ project }: Session, at: Waypoint): UpdateFailed {
  return new UpdateFailed(
    `${project.configFile} was edited while this command walked, so it stopped at ${describeWaypoint(at)}. Run the command ` +
      "that you mean now: `rayshift deploy` goes on, `rayshift rollback` goes back.",
  );
}

/**
 * Whether the walk leaps over what is left of its waypoints: a primary that does not serve is not taken from step by step.
 * Under a surge that needs a dead one, since one that only fails still takes up its nodes.
 */
function leavesPrimary(seen: Inspection, goal: Goal): boolean {
  if (goal.kind === "rollback" || goal.traffic < 100 || primaryServes(seen)) return false;
  return goal.surge === undefined || seen.primary.replicas === null;
}

/** A waypoint that a broken-off first update was on its way to; undefined when that is not safe or not wanted any more. */
function begunBefore({ rollout: { canary } }: Deployed, { begun, goal }: Rollout): Waypoint | undefined {
  if (canary !== undefined || begun === undefined || goal.kind === "rollback") return undefined;
  const { primaryCapacity, canaryCapacity, canaryTraffic } = begun;
  const at = { primaryCapacity, canaryCapacity, canaryTraffic };
  return canaryTraffic <= goal.traffic && canReachInOneUpdate(primaryOnly, at, goal.surge) ? at : undefined;
}

/** The update ended well, and the service is not where it was to lead. */
export function elsewhere(wanted: Waypoint, { at, gone }: Inspection): UpdateFailed {
  const missing = gone.length === 0 ? "" : `; ${gone.join(" and ")} does not answer`;
  return new UpdateFailed(
    `the update is done, but the service stands at ${describeWaypoint(at)} where it should be at ` +
      `${describeWaypoint(wanted)}${missing}. Somebody else may have changed it; run the same command again to go on.`,
  );
}

function waypointConfig(
  { versions, goal, startedAt }: Rollout,
  direction: ConfiguredWaypoint["direction"],
  at: Waypoint,
): ConfiguredWaypoint {
  return { ...versions, ...at, direction, startedAt, ...(goal.surge === undefined ? {} : { surge: goal.surge }) };
}

/**
 * The record after an update that reached a waypoint. While the two versions stay it is known without asking; a new
 * canary's addresses are not.
 */
async function recordedAfter(
  session: Session,
  before: Deployed,
  { canary }: Versions,
  rollout: Rollout,
  at: Waypoint,
): Promise<Deployed> {
  const running = before.rollout.canary;
  if (running === undefined || running.name !== canary) return deployedOutputs(session);
  const { primary } = before.rollout;
  const record: RolloutRecord = {
    ...before.rollout,
    phase: rollout.goal.kind === "rollback" ? "ROLLING_BACK" : "ROLLING_OUT",
    primary: {
      ...primary,
      capacity: at.primaryCapacity === 100 ? null : at.primaryCapacity,
      traffic: 100 - at.canaryTraffic,
    },
    canary: { ...running, capacity: at.canaryCapacity, traffic: at.canaryTraffic },
  };
  return { ...before, rollout: record };
}
