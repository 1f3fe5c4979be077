import { setTimeout as sleep } from "node:timers/promises";
import { ask, type Endpoint } from "../../rollout/demo/load";
import { InvariantWatch, type Limits } from "../e2e/invariants";
import { localSources } from "../e2e/localSources";
import type { ChaosProject } from "./project";

/** One request of a user. */
interface Request {
  /** When it was sent, ms. */
  at: number;
  /** Why it failed; undefined: it was answered. */
  failure: string | undefined;
}

export interface Observed<T> {
  result: T;
  /** Broken invariants of docs/design.md. */
  violations: string[];
  requests: Request[];
}

const pauseMs = 50;
const underwayMs = 1000;

/** Runs something under the eyes of the invariants and with a user who asks all the time. */
export async function observed<T>(
  project: ChaosProject,
  endpoint: Endpoint,
  limits: Limits & { versions: readonly string[] },
  run: () => Promise<T>,
): Promise<Observed<T>> {
  const watch = new InvariantWatch(localSources(project.project, limits.versions), limits);
  const requests: Request[] = [];
  let over = false;
  const user = (async () => {
    while (!over) {
      const at = Date.now();
      const ending = await ask(endpoint, "");
      const failure = "error" in ending ? ending.error : ending.status === 200 ? undefined : `status ${ending.status}`;
      requests.push({ at, failure });
      await sleep(pauseMs);
    }
  })();
  try {
    const result = await run();
    return { result, violations: watch.violations, requests };
  } finally {
    over = true;
    await Promise.all([user, watch.stop()]);
  }
}

/**
 * Requests that failed, but for those after a kill of HAProxy and before the next one that was answered: until it runs
 * anew nobody can answer.
 *
 * @param haproxyKilledAt ms
 */
export function failures(requests: readonly Request[], haproxyKilledAt: readonly number[] = []): string[] {
  const excused = ({ at }: Request) =>
    haproxyKilledAt.some((killed) => {
      // One that was under way at the kill had been sent before.
      if (at < killed - underwayMs) return false;
      return !requests.some((other) => other.failure === undefined && other.at > killed && other.at < at);
    });
  return requests
    .filter((request) => request.failure !== undefined && !excused(request))
    .map(({ at, failure }) => `I6: at ${new Date(at).toISOString()}: ${failure}`);
}
