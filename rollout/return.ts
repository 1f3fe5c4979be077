import { waypointOf } from "../components/placement";
import type { PlacedVersion, RejectedVersion } from "../components/record";
import { elsewhere, type Rollout, walkTo } from "./drive";
import { CanaryInTheWay, DeadlinePassed, RolledBack, UpdateFailed } from "./errors";
import { type Inspection, inspect, primaryServes } from "./inspect";
import { equal, primaryOnly, type Waypoint } from "./plan";
import { type Deployed, isDeployed, type Session } from "./session";
import type { Interruption } from "./watch";
import { deployedOutputs, reportReached, watchedUpdate } from "./watchedUpdate";

export interface GivingUp {
  /** Off: the rollout is held where it is. */
  autoRollback: boolean;
  /** Everything at the same time, for a canary under a surge that nobody holds; requests may fail for a moment. */
  atOnce: boolean;
}

/** Ends a rollout whose canary is not good. Always throws: RolledBack, DeadlinePassed, or UpdateFailed when it is held. */
export async function giveUp(
  session: Session,
  { versions, goal, digest }: Rollout,
  why: Interruption,
  how: GivingUp,
): Promise<never> {
  session.emit({ event: "unhealthy", version: versions.canary, reason: why.reason });
  const deployed = await session.stack.outputs(session.signal);
  if (!isDeployed(deployed)) throw new UpdateFailed(why.reason);
  if (!how.autoRollback) {
    session.config.edit({ waypoint: undefined, canaryPercent: deployed.rollout.canary?.traffic ?? 0 });
    throw new UpdateFailed(
      `version ${versions.canary} is not good: ${why.reason}\nautoRollback is off, so the rollout is held where it is. ` +
        "Run `rayshift rollback`, or `rayshift deploy` to go on.",
    );
  }
  // A rollout that only took too long says nothing of its version.
  if (digest !== undefined && why.kind === "unhealthy") {
    const at = new Date().toISOString();
    session.config.edit({ rejected: { version: versions.canary, digest, reason: why.reason, at } });
  }
  const seen = await inspect(deployed.rollout, deployed.targets, session.signal);
  // All at once asks nobody whether the primary can take its traffic: only for one that serves.
  if (how.atOnce && why.kind === "unhealthy" && primaryServes(seen))
    await backAtOnce(session, deployed, seen, keepsNodes(deployed) ? "afterCanary" : "atOnce");
  else await goBack(session, deployed, goal.surge, seen);
  throw new (why.kind === "deadline" ? DeadlinePassed : RolledBack)(versions.canary, why.reason);
}

/** The config that wants the primary's version, whatever its folder holds by now. */
export function configOf({ spec, written = spec, workingDirectory }: PlacedVersion): Record<string, unknown> {
  return { service: written, workingDirDigest: workingDirectory?.digest, canaryPercent: undefined };
}

/** The rejection that the config has pending: it is recorded by the update that ends the canary. */
export function pendingRejection({ config }: Session): RejectedVersion | undefined {
  const text = config.read().rejected;
  return text === undefined ? undefined : (JSON.parse(text) as RejectedVersion);
}

/**
 * Back to the primary alone. While the primary is whole the traffic returns in one update; a primary that was shrunk
 * grows again by waypoints, within the surge. `before`: what was just seen of `deployed`.
 */
export async function goBack(
  session: Session,
  deployed: Deployed,
  surge: number | undefined,
  before?: Inspection,
): Promise<void> {
  const { primary, canary, startedAt, deadline } = deployed.rollout;
  session.config.edit(configOf(primary));
  const seen = before ?? (await inspect(deployed.rollout, deployed.targets, session.signal));
  // What was recorded counts as well: the program goes by it, and refuses to end in one update what the record has half way.
  const whole = Math.min(seen.at.primaryCapacity, waypointOf(deployed.rollout).primaryCapacity) === 100;
  if (canary !== undefined && !whole) {
    // Nothing could grow before the cluster of a canary that is down has ended, and there is no traffic of it to protect.
    if (seen.down !== undefined && primaryServes(seen)) return backAtOnce(session, deployed, seen, "afterCanary");
    const now = new Date().toISOString();
    const walk: Rollout = {
      versions: { primary: primary.name, canary: canary.name },
      digest: canary.digest,
      goal: { kind: "rollback", surge },
      startedAt: startedAt ?? now,
      deadline: deadline ?? now,
      withdrawal: "never",
    };
    try {
      await walkTo(session, deployed, walk);
    } catch (error) {
      if (!(error instanceof CanaryInTheWay)) throw error;
      return await pastCanary(session, error);
    }
  }
  // Of a canary that no record has, the waypoint is all that tells of it; one that the record is past would only be kept to.
  if (canary !== undefined || leftSmall(deployed)) session.config.edit({ waypoint: undefined });
  const message = `back to ${primary.name}${canary === undefined ? "" : `, ${canary.name} ends`}`;
  await end(session, deployed, message, whole ? waypointOf(deployed.rollout) : primaryOnly);
  session.config.edit({ waypoint: undefined, rejected: undefined });
}

/** Ends a canary that the primary cannot grow beside: what it still answers is worth less than the way back. */
async function pastCanary(session: Session, failure: CanaryInTheWay): Promise<void> {
  const deployed = await deployedOutputs(session);
  const seen = await inspect(deployed.rollout, deployed.targets, session.signal);
  if (deployed.rollout.canary === undefined || !primaryServes(seen)) throw new UpdateFailed(failure.message);
  const { name } = deployed.rollout.canary;
  const message = `the primary cannot grow beside ${name}, which is unhealthy and so ends first: ${failure.message}`;
  session.emit({ event: "notice", message });
  await backAtOnce(session, deployed, seen, "afterCanary");
}

/** Whether the primary runs alone and has yet to grow: a way back ended the canary first, and was broken off after that. */
export function leftSmall({ rollout: { primary, canary } }: Deployed): boolean {
  return canary === undefined && (primary.capacity ?? 100) < 100;
}

/** Whether the nodes of a dead head stay until somebody ends its cluster, as pods do. */
const keepsNodes = ({ targets }: Deployed) => targets.loadBalancer?.httpRoute !== undefined;

/**
 * Weights, the primary's capacity and the canary's end in one update in which nothing waits for anything. An engine deletes
 * last: where the primary may have no room before, it grows in an update of its own.
 */
async function backAtOnce(
  session: Session,
  deployed: Deployed,
  { at, gone, silent }: Inspection,
  growth: "atOnce" | "afterCanary",
): Promise<void> {
  const { primary, canary, startedAt } = deployed.rollout;
  const growsLater = growth === "afterCanary" && at.primaryCapacity < 100;
  const immediate = {
    primary: primary.name,
    canary: canary?.name ?? "none",
    primaryCapacity: growsLater ? at.primaryCapacity : 100,
    canaryCapacity: 0,
    canaryTraffic: 0,
    direction: "back",
    startedAt: startedAt ?? new Date().toISOString(),
    immediate: true,
  };
  session.config.edit({ ...configOf(primary), waypoint: immediate });
  const message = `back to ${primary.name} at once`;
  if (growsLater) {
    const refresh = gone.length > 0 && !silent;
    await watchedUpdate(session, deployed, { message, endWhenUnhealthy: false, refresh });
    if (refresh) await session.stack.settle(session.signal);
    session.config.edit({ waypoint: undefined });
    const ended = await deployedOutputs(session);
    await end(session, ended, `${primary.name} grows to 100%`, waypointOf(ended.rollout));
  } else {
    await end(session, deployed, message, waypointOf(deployed.rollout));
  }
  session.config.edit({ waypoint: undefined, rejected: undefined });
}

/** @param stands what the engine was last brought to, as far as it knows */
async function end(session: Session, before: Deployed, message: string, stands: Waypoint): Promise<void> {
  const began = Date.now();
  let seen = await inspect(before.rollout, before.targets, session.signal);
  // A failed or killed update may have left the engine with another picture than what runs.
  const differs = seen.at.primaryCapacity !== stands.primaryCapacity;
  let doubtful = differs || seen.gone.length > 0 || seen.drifted || seen.strange.length > 0;
  for (let attempt = 1; attempt <= 2; attempt++) {
    const refresh = doubtful && !seen.silent;
    await watchedUpdate(session, before, { message, endWhenUnhealthy: false, refresh });
    // What is dead, the engine forgets when it looks, and ends nothing of it.
    if (refresh) await session.stack.settle(session.signal);
    const { rollout, targets } = await deployedOutputs(session);
    seen = await inspect(rollout, targets, session.signal);
    const done = equal(seen.at, primaryOnly) && !seen.drifted && seen.strange.length === 0;
    if (done) return reportReached(session, primaryOnly, seen, began);
    // What a provider did that was killed right after, the engine does not know.
    doubtful = true;
  }
  throw elsewhere(primaryOnly, seen);
}
