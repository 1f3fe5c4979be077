import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { deadlineOf, type RejectedVersion } from "../components/record";
import { parseStackConfig, type StackConfig } from "../components/stackConfig";
import type { Rollout } from "./drive";
import { RolledBack, StackLocked, UpdateFailed } from "./errors";
import { inspect } from "./inspect";
import { giveUp, goBack, leftSmall, pendingRejection } from "./return";
import { type Deployed, driving, isDeployed, openSession, type Session, type SessionOptions } from "./session";
import { type Interruption, Outage, watch } from "./watch";

export interface SuperviseOptions extends SessionOptions {
  /** Looks once, for cron and CI schedules; otherwise until the signal ends it. */
  once?: boolean | undefined;
  /** Between two looks, 15 when absent. */
  intervalSeconds?: number | undefined;
}

/** `unchanged`: no rollout is under way. `held`: one is, and it is well or somebody else's command works on it. */
export interface Supervision {
  outcome: "unchanged" | "held" | "rolledBack";
  /** The version in charge, or the canary that is held; absent when nothing is deployed. */
  version?: string;
}

/** Why a rollout is not left as it is. */
type Cause =
  | Interruption
  /** A way back that a killed command began. */
  | { kind: "returning"; rejection: RejectedVersion | undefined };

/**
 * Enforces health and deadline of a rollout that no command drives: one that is held, or whose driver was killed. Takes
 * the stack's lock only to act.
 *
 * @returns without `once`: what was seen last, when the signal has ended it
 * @throws RolledBack or DeadlinePassed when the canary was given up, with `once`
 * @throws UpdateFailed when `autoRollback` is off, or the way back failed, with `once`
 */
export async function supervise({
  once = false,
  intervalSeconds = 15,
  ...options
}: SuperviseOptions): Promise<Supervision> {
  if (once) return look(options);
  const { signal = new AbortController().signal, onEvent = () => {} } = options;
  let last: Supervision = { outcome: "unchanged" };
  let said = "";
  while (!signal.aborted) {
    const seen = await look(options).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      // What is to be put right by somebody else stays to be supervised; it is said once.
      if (!(error instanceof RolledBack || error instanceof UpdateFailed)) throw error;
      if (error.message !== said) onEvent({ event: "notice", message: error.message });
      said = error.message;
      return undefined;
    });
    if (seen !== undefined) [last, said] = [seen, ""];
    await sleep(intervalSeconds * 1000, undefined, { signal }).catch(() => undefined);
  }
  return last;
}

async function look(options: SessionOptions): Promise<Supervision> {
  const session = await openSession(options);
  const deployed = await session.stack.outputs(session.signal);
  if (!isDeployed(deployed)) return { outcome: "unchanged" };
  const outage = new Outage();
  const cause = await causeToAct(session, deployed, outage);
  if (cause === undefined) return standing(deployed);
  try {
    return await driving("supervise", options, (locked) => actAgain(locked, deployed, outage));
  } catch (error) {
    if (!(error instanceof StackLocked)) throw error;
    session.emit({ event: "notice", message: error.message });
    return standing(deployed);
  }
}

function standing({ rollout: { primary, canary } }: Deployed): Supervision {
  return canary === undefined
    ? { outcome: "unchanged", version: primary.name }
    : { outcome: "held", version: canary.name };
}

/** Under the lock: what was seen without it may have been put right by the command that had it. */
async function actAgain(session: Session, before: Deployed, seenBefore: Outage): Promise<Supervision> {
  const { signal, stack, emit } = session;
  await stack.settle(signal);
  const deployed = await stack.outputs(signal);
  if (!isDeployed(deployed)) return { outcome: "unchanged" };
  const outage = isDeepStrictEqual(deployed.rollout, before.rollout) ? seenBefore : new Outage();
  const cause = await causeToAct(session, deployed, outage);
  if (cause === undefined) return standing(deployed);
  const { primary, canary, surge, startedAt, deadline } = deployed.rollout;
  const config = settings(session);
  const version = canary?.name ?? config.waypoint?.canary ?? "the canary";
  emit({ event: "started", command: "supervise", service: primary.spec.name, version, notices: [] });
  if (cause.kind === "returning") {
    await goBack(session, deployed, config.maxSurgePercent ?? surge);
    if (cause.rejection !== undefined) throw new RolledBack(version, cause.rejection.reason);
    return { outcome: "rolledBack", version: primary.name };
  }
  const now = new Date().toISOString();
  const rollout: Rollout = {
    versions: { primary: primary.name, canary: version },
    digest: canary?.digest,
    goal: { kind: "split", traffic: canary?.traffic ?? 0, surge },
    startedAt: startedAt ?? now,
    deadline: deadline ?? now,
    withdrawal: "never",
  };
  const atOnce = surge !== undefined && config.canaryPercent === undefined;
  return giveUp(session, rollout, cause, { autoRollback: config.autoRollback, atOnce });
}

/**
 * What calls for an end of the rollout; undefined when none is under way, or it is well.
 *
 * @throws UpdateFailed when the service cannot be asked
 */
async function causeToAct(session: Session, deployed: Deployed, outage: Outage): Promise<Cause | undefined> {
  const { rollout, targets } = deployed;
  const rejection = pendingRejection(session);
  if (leftSmall(deployed)) return { kind: "returning", rejection };
  const { waypoint, rolloutTimeoutMinutes } = settings(session);
  // A canary whose first update was killed is in no record; its waypoint is still in the config.
  const begun = rollout.canary === undefined && waypoint !== undefined && waypoint.immediate !== true;
  if (rollout.canary === undefined && !begun) return undefined;
  if (rejection !== undefined || rollout.phase === "ROLLING_BACK") return { kind: "returning", rejection };
  const deadline = rollout.deadline ?? (waypoint && deadlineOf(waypoint.startedAt, rolloutTimeoutMinutes));
  const over = new AbortController();
  let failure: unknown;
  const cause = await watch(
    {
      look: (signal) =>
        inspect(rollout, targets, signal).catch((error: unknown) => {
          failure = error;
          over.abort();
          throw error;
        }),
      // One good look is enough; a canary that is down is looked at until that has lasted.
      onLook: ({ down }) => {
        if (down === undefined) over.abort();
      },
      deadline,
      endWhenUnhealthy: true,
      outage,
    },
    AbortSignal.any([over.signal, session.signal]),
  );
  session.signal.throwIfAborted();
  if (failure !== undefined) throw failure;
  return cause;
}

function settings(session: Session): StackConfig {
  return parseStackConfig(session.config.read());
}
