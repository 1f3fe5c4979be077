import { walkTo } from "./drive";
import type { Outcome } from "./events";
import { canaryServes, inspect, primaryServes } from "./inspect";
import { primaryOnly } from "./plan";
import { configOf } from "./return";
import type { Deployed, Session } from "./session";
import { configFor, type Wanted } from "./wanted";
import { deployedOutputs, reportReached, watchedUpdate } from "./watchedUpdate";

/** The update after which one version runs alone, and where it then stands. */
export async function settleAt(
  session: Session,
  before: Deployed | undefined,
  message: string,
  refresh = false,
): Promise<void> {
  const began = Date.now();
  await watchedUpdate(session, before, { message, endWhenUnhealthy: false, refresh });
  if (refresh) await session.stack.settle(session.signal);
  const { rollout, targets } = await deployedOutputs(session);
  reportReached(session, primaryOnly, await inspect(rollout, targets, session.signal), began);
}

/** The version that runs already: only what is missing or left over is put right. */
export async function keepPrimary(
  session: Session,
  deployed: Deployed,
  wanted: Wanted,
  clusters: string[],
): Promise<Outcome> {
  const seen = await inspect(deployed.rollout, deployed.targets, session.signal);
  session.config.edit({ ...configFor(wanted), canaryPercent: undefined });
  const faults = [
    ...seen.gone.map((part) => `${part} is gone`),
    ...(seen.at.canaryTraffic === 0 && !seen.drifted ? [] : ["requests go elsewhere"]),
    ...seen.strange.map((version) => `the load balancer still has ${version}`),
    ...(seen.unhealthy.primary === undefined ? [] : [seen.unhealthy.primary]),
    ...(seen.at.primaryCapacity === 100 ? [] : [`its capacity is ${seen.at.primaryCapacity}%`]),
    ...(clusters.length > 1 ? ["an interrupted rollout left a cluster"] : []),
  ];
  if (faults.length === 0) return "unchanged";
  await settleAt(session, deployed, `repair: ${faults.join(", ")}`, true);
  return "deployed";
}

/**
 * A rollout can go on without the primary's cluster, or without the load balancer, and makes either again. Without both it
 * cannot: the load balancer starts with a version that serves.
 */
export async function repairBefore(session: Session, deployed: Deployed): Promise<void> {
  const { primary, canary } = deployed.rollout;
  if (canary !== undefined) return;
  const { gone } = await inspect(deployed.rollout, deployed.targets, session.signal);
  if (gone.length < 2) return;
  session.config.edit({ ...configOf(primary), waypoint: undefined });
  await settleAt(session, deployed, `repair: ${gone.join(" and ")} gone`, true);
}

/**
 * Before a third version: where the primary does not serve and the canary does, the canary gets in charge, because nothing
 * could go back to that primary. False when that is not so, and nothing was changed.
 */
export async function promoteCanary(session: Session, deployed: Deployed, surge: number | undefined): Promise<boolean> {
  const { primary, canary, startedAt, deadline } = deployed.rollout;
  const seen = await inspect(deployed.rollout, deployed.targets, session.signal);
  if (canary === undefined || primaryServes(seen) || !canaryServes(seen)) return false;
  const now = new Date().toISOString();
  session.config.edit({ ...configOf(canary), rejected: undefined });
  const end = await walkTo(session, deployed, {
    versions: { primary: primary.name, canary: canary.name },
    digest: canary.digest,
    goal: { kind: "split", traffic: 100, surge },
    startedAt: startedAt ?? now,
    deadline: deadline ?? now,
    withdrawal: "never",
  });
  if (end.kind !== "arrived") return false;
  session.config.edit({ waypoint: undefined });
  await settleAt(session, deployed, `${canary.name} completes, ${primary.name} ends`);
  return true;
}
