import { refuseToMove } from "../components/moved";
import { place, refuseRejected } from "../components/placement";
import { deadlineOf, type RejectedVersion } from "../components/record";
import { type ConfiguredWaypoint, parseStackConfig } from "../components/stackConfig";
import { preflight } from "../components/targets";
import { type Rollout, walkTo } from "./drive";
import { Refused, RolledBack } from "./errors";
import type { Outcome } from "./events";
import { changesInPlace } from "./inPlace";
import { keepPrimary, promoteCanary, repairBefore, settleAt } from "./repair";
import { giveUp, goBack } from "./return";
import { type Deployed, driving, isDeployed, type Session, type SessionOptions } from "./session";
import { configFor, readWanted, type Wanted, type WantedOptions } from "./wanted";
import { deployedOutputs } from "./watchedUpdate";

export interface DeployOptions extends SessionOptions, WantedOptions {
  /** Rolls out a version again that was rejected as it is. */
  retry?: boolean | undefined;
}

export interface CommandResult {
  outcome: Outcome;
  /** The version in charge, or the canary that is held. */
  version: string;
  url: string;
}

/**
 * First deploy, rollout, next split or in-place update of a service; goes on with one that was interrupted.
 *
 * @throws RolledBack or DeadlinePassed when the canary was given up and the primary serves again
 * @throws InvalidInput, Refused or Refusal when nothing was changed
 * @throws StackLocked when another command or update works on the stack
 */
export async function deploy(options: DeployOptions): Promise<CommandResult> {
  const began = Date.now();
  return driving("deploy", options, async (session) => {
    const wanted = await readWanted(session, options);
    const { emit, signal, stack } = session;
    const outputs = await stack.outputs(signal);
    refuseToMove(wanted.config, outputs?.targets);
    // What the program would find before it registers anything, found before the config changes.
    const { home } = session.project;
    const here = { home, environment: session.environment };
    const notices = await preflight(wanted.config, wanted.version, outputs?.rollout, here);
    if (outputs === undefined) await stack.create(signal);
    const clusters = outputs === undefined ? [] : await stack.settle(signal);
    const version = wanted.version.name;
    emit({
      event: "started",
      command: "deploy",
      service: wanted.source.spec.name,
      version,
      notices: [...wanted.config.notices, ...notices],
    });
    const outcome = isDeployed(outputs)
      ? await change(session, outputs, wanted, clusters, options.retry === true)
      : await deployFirst(session, wanted, clusters);
    const { url = "" } = await deployedOutputs(session);
    emit({ event: "finished", outcome, version, url, seconds: (Date.now() - began) / 1000 });
    return { outcome, version, url };
  });
}

async function deployFirst(session: Session, wanted: Wanted, clusters: string[]): Promise<Outcome> {
  for (const message of place(wanted.config, wanted.version, undefined, new Date()).notices) {
    session.emit({ event: "notice", message });
  }
  session.config.edit({ ...configFor(wanted), canaryPercent: undefined });
  if (clusters.some((name) => name !== `cluster-${wanted.version.name}`)) {
    // Of first deploys that were broken off: there is no room for one cluster beside another.
    await session.stack.clear(undefined, session.signal);
  }
  await settleAt(session, undefined, `first deploy of ${wanted.version.name}`);
  return "deployed";
}

async function change(
  session: Session,
  deployed: Deployed,
  wanted: Wanted,
  clusters: string[],
  retry: boolean,
): Promise<Outcome> {
  const { primary, canary } = deployed.rollout;
  const surge = wanted.config.maxSurgePercent ?? deployed.rollout.surge;
  const { digest } = wanted.version;
  const rejection = retry ? undefined : unfinishedRejection(deployed, wanted, clusters);
  if (rejection !== undefined) {
    await goBack(session, deployed, surge);
    throw new RolledBack(wanted.version.name, rejection.reason);
  }
  refuse(deployed, wanted, retry);
  if (wanted.config.inPlace === true) return updateInPlace(session, deployed, wanted);
  if (canary !== undefined && digest !== canary.digest) {
    if (digest !== primary.digest && (await promoteCanary(session, deployed, surge))) {
      return change(session, await deployedOutputs(session), wanted, [], retry);
    }
    await goBack(session, deployed, surge);
    if (digest === primary.digest) return "rolledBack";
    return change(session, await deployedOutputs(session), wanted, [], retry);
  }
  if (canary === undefined && digest !== primary.digest && strangers(clusters, deployed, wanted).length > 0) {
    // The first update of another version's rollout was broken off: no record has its cluster, and there is no room for a third.
    await goBack(session, deployed, surge);
    return change(session, await deployedOutputs(session), wanted, [], retry);
  }
  if (digest === primary.digest) return keepPrimary(session, deployed, wanted, clusters);
  return rollOut(session, deployed, wanted, canary === undefined && clusters.length > 1);
}

/** Why the wanted version was rejected, while something of it is left: its way back was interrupted. */
function unfinishedRejection(
  { rollout: { canary, rejected = [] } }: Deployed,
  { version: { digest }, config }: Wanted,
  clusters: string[],
): RejectedVersion | undefined {
  const pending = config.rejected?.digest === digest ? config.rejected : undefined;
  if (canary !== undefined) return canary.digest === digest ? pending : undefined;
  // The record forgets a canary before its cluster has ended.
  return clusters.length > 1 ? (pending ?? rejected.find((each) => each.digest === digest)) : undefined;
}

/** Clusters of the stack that are neither the primary's nor the wanted version's. */
function strangers(clusters: string[], { rollout }: Deployed, { version }: Wanted): string[] {
  const known = [rollout.primary.cluster, version.name, `${version.name}-2`].map((name) => `cluster-${name}`);
  return clusters.filter((name) => !known.includes(name));
}

/** What the program would refuse is said before the config changes. */
export function refuse({ rollout }: Deployed, { source, version, config }: Wanted, retry: boolean): void {
  if (source.spec.name !== rollout.primary.spec.name) {
    throw new Refused(
      `this stack runs the service ${rollout.primary.spec.name}, and a service keeps its name. Deploy ${source.spec.name} to ` +
        "a stack of its own with `-s STACK`. Nothing was changed.",
    );
  }
  const { primary, canary } = rollout;
  if (version.digest !== canary?.digest && !retry) refuseRejected(version, rollout);
  const reused = [primary, canary].some(
    (running) => running?.name === version.name && running.digest !== version.digest,
  );
  if (reused || config.inPlace === true) place(config, version, rollout, new Date());
}

async function updateInPlace(session: Session, deployed: Deployed, wanted: Wanted): Promise<Outcome> {
  const { version } = wanted;
  const { primary } = deployed.rollout;
  if (version.digest === primary.digest) return "unchanged";
  session.emit({ event: "changes", version: version.name, changes: changesInPlace(primary, version) });
  session.config.edit({ ...configFor(wanted), inPlace: true });
  await settleAt(session, deployed, `${wanted.version.name} in place`);
  session.config.edit({ inPlace: undefined });
  return "updatedInPlace";
}

async function rollOut(session: Session, deployed: Deployed, wanted: Wanted, leftover: boolean): Promise<Outcome> {
  const { canaryPercent, maxSurgePercent, rolloutTimeoutMinutes, autoRollback } = wanted.config;
  const { primary, canary } = deployed.rollout;
  const surge = maxSurgePercent ?? deployed.rollout.surge;
  const begun = leftover ? begunUpdate(session, deployed, wanted) : undefined;
  const startedAt = deployed.rollout.startedAt ?? begun?.startedAt ?? new Date().toISOString();
  const atOnce = surge !== undefined && canaryPercent === undefined;
  const rollout: Rollout = {
    versions: { primary: primary.name, canary: wanted.version.name },
    digest: wanted.version.digest,
    leftover,
    begun,
    goal: { kind: "split", traffic: canaryPercent ?? 100, surge },
    startedAt,
    deadline: deadlineOf(startedAt, rolloutTimeoutMinutes),
    withdrawal: !autoRollback ? "never" : atOnce ? "always" : "whilePrimaryIsWhole",
  };
  await repairBefore(session, deployed);
  session.config.edit({ ...configFor(wanted), waypoint: begun, canaryPercent });
  const end = await walkTo(session, deployed, rollout);
  if (end.kind !== "arrived") {
    return giveUp(session, rollout, end, { autoRollback, atOnce });
  }
  session.config.edit({ waypoint: undefined });
  if ((canaryPercent ?? 100) < 100) return "held";
  session.config.edit({ canaryPercent: undefined });
  const before = canary === undefined ? await deployedOutputs(session) : deployed;
  await settleAt(session, before, `${wanted.version.name} completes, ${primary.name} ends`);
  return "completed";
}

/** The waypoint of the first update, which a killed command left in the config. */
function begunUpdate({ config }: Session, { rollout }: Deployed, { version }: Wanted): ConfiguredWaypoint | undefined {
  const { waypoint } = parseStackConfig(config.read());
  return waypoint?.canary === version.name && waypoint.primary === rollout.primary.name ? waypoint : undefined;
}
