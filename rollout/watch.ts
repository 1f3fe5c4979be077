import { setTimeout as sleep } from "node:timers/promises";
import type { Inspection } from "./inspect";

/** Why an update is given up while it runs. */
export type Interruption =
  | { kind: "unhealthy"; reason: string }
  /** The rollout's deadline passed. */
  | { kind: "deadline"; reason: string };

export interface WatchOptions {
  look: (signal: AbortSignal) => Promise<Inspection>;
  /** Shown to whoever follows the rollout. */
  onLook: (seen: Inspection) => void;
  /** ISO time; absent where no rollout is under way. */
  deadline?: string | undefined;
  /** Whether an unhealthy canary ends the update; not on the way back. */
  endWhenUnhealthy: boolean;
  /** Where no update is under way, so that a canary on whose cluster nothing runs is down too: what is known of that. */
  outage?: Outage;
}

const intervalMs = 500;
/** A head that does not answer for this long is dead; a busy one answers again within it. */
const unreachableGraceMs = 10_000;
/** The same where requests are answered meanwhile: long enough for another head, its image and its start. */
const replacedGraceMs = 120_000;

/** For how long a canary has been down, over all looks at it. */
export class Outage {
  private known: { version: string; since: number } | undefined;
  private lasted: string | undefined;

  /**
   * Takes a look in; gives the reason when the canary has been down for longer than a busy head is silent, or than it takes
   * to replace one. From then on the reason stands: what a cluster without its head let fail is not made good by another head.
   */
  observe({
    canary,
    down,
    outlivesHead,
  }: Partial<Pick<Inspection, "canary" | "down" | "outlivesHead">>): string | undefined {
    if (this.lasted !== undefined) return this.lasted;
    if (canary === undefined || down === undefined) {
      this.known = undefined;
      return undefined;
    }
    const { version } = canary;
    if (this.known?.version !== version) this.known = { version, since: Date.now() };
    const graceMs = outlivesHead ? replacedGraceMs : unreachableGraceMs;
    if (Date.now() - this.known.since >= graceMs) this.lasted = `${version}: ${down}`;
    return this.lasted;
  }
}

/**
 * Looks at the service until `signal` is aborted, or until something calls for giving the update up; resolves with
 * that reason then.
 */
export async function watch(options: WatchOptions, signal: AbortSignal): Promise<Interruption | undefined> {
  const { outage = new Outage() } = options;
  while (!signal.aborted) {
    const seen = await options.look(signal).catch(() => undefined);
    if (signal.aborted) return undefined;
    if (seen !== undefined) {
      options.onLook(seen);
      // What an update has just made, or makes anew, runs nothing yet; only its silence counts.
      const counts = options.outage !== undefined || seen.canary?.replicas === null;
      const outlasted = outage.observe(counts ? seen : {});
      const reason = seen.unhealthy.canary ?? outlasted;
      if (options.endWhenUnhealthy && reason !== undefined) return { kind: "unhealthy", reason };
    }
    if (options.deadline !== undefined && Date.now() >= Date.parse(options.deadline)) {
      return { kind: "deadline", reason: `not complete at its deadline, ${options.deadline}` };
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}
