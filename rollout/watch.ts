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
}

const intervalMs = 500;
/** A head that does not answer for this long is dead; a busy one answers again within it. */
export const unreachableGraceMs = 10_000;

/**
 * Looks at the service until `signal` is aborted, or until something calls for giving the update up; resolves with
 * that reason then.
 */
export async function watch(options: WatchOptions, signal: AbortSignal): Promise<Interruption | undefined> {
  let unreachableSince: number | undefined;
  while (!signal.aborted) {
    const seen = await options.look(signal).catch(() => undefined);
    if (signal.aborted) return undefined;
    if (seen !== undefined) {
      options.onLook(seen);
      const canaryGone = seen.canary !== undefined && seen.canary.replicas === null;
      unreachableSince = canaryGone ? (unreachableSince ?? Date.now()) : undefined;
      const reason =
        seen.unhealthy.canary ??
        (unreachableSince !== undefined && Date.now() - unreachableSince >= unreachableGraceMs
          ? `${seen.canary?.version}: ${seen.canary?.waitsFor ?? "its head does not answer"}`
          : undefined);
      if (options.endWhenUnhealthy && reason !== undefined) return { kind: "unhealthy", reason };
    }
    if (options.deadline !== undefined && Date.now() >= Date.parse(options.deadline)) {
      return { kind: "deadline", reason: `not complete at its deadline, ${options.deadline}` };
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}
