import { balancerAt } from "./balancers";
import { type Inspection, primaryServes } from "./inspect";
import type { Deployed } from "./session";

/**
 * When an unhealthy canary loses its traffic before any update: with a rollback at once always, otherwise only while the
 * primary is whole and so can take it.
 */
export type Withdrawal = "always" | "whilePrimaryIsWhole" | "never";

/** Whether the primary can take all requests now, as far as that is asked for. */
export function mayWithdraw(withdrawal: Withdrawal, seen: Inspection): boolean {
  if (withdrawal === "never" || !primaryServes(seen)) return false;
  return withdrawal === "always" || seen.at.primaryCapacity === 100;
}

/**
 * Sends all requests to the primary, at the load balancer itself. The one effect that is not an update: starting one
 * takes seconds in which requests would fail. The update that follows finds the weights as it wants them. What cannot be
 * done here is left to that update.
 */
export async function withdrawTraffic({ rollout, targets }: Pick<Deployed, "rollout" | "targets">): Promise<void> {
  const { primary, canary } = rollout;
  if (canary === undefined) return;
  await balancerAt(targets.loadBalancer)
    ?.moveTraffic?.(primary.cluster, canary.cluster)
    .catch(() => undefined);
}
