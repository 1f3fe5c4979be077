import { setTimeout as sleep } from "node:timers/promises";
import { type DashboardAddress, DashboardUnreachable, getApplications } from "./dashboard";
import { type Expectation, StartFailures, type Verdict, verdict } from "./health";
import type { Observation } from "./observation";

/** How long and how to wait for a cluster to be as expected. */
export interface Wait {
  timeoutSeconds: number;
  signal: AbortSignal;
  progress(message: string): void;
}

/** A look costs the cluster's dashboard and controller some 20 ms of processor time, which its requests want too. */
const POLL_MS = 500;
/** A head that restarts its dashboard comes back within this; one that does not is lost. */
const UNREACHABLE_GRACE_MS = 30_000;

/**
 * Waits until the cluster is as expected and returns what was observed then. Throws, with the reason, as soon as it is
 * unhealthy or cannot be reached any more, and when the time is over.
 */
export async function converge(address: DashboardAddress, expectation: Expectation, wait: Wait): Promise<Observation> {
  const started = Date.now();
  const failures = new StartFailures();
  let answered = started;
  let shown = "";
  for (;;) {
    let judged: Exclude<Verdict, { state: "healthy" }>;
    try {
      const observation = await getApplications(address, wait.signal);
      answered = Date.now();
      const failed = expectation.surplusOnly === true ? undefined : failures.observe(observation);
      const now = failed ?? verdict(observation, expectation);
      if (now.state === "healthy") return observation;
      judged = now;
    } catch (error) {
      if (!(error instanceof DashboardUnreachable)) throw error;
      judged = { state: Date.now() - answered > UNREACHABLE_GRACE_MS ? "unhealthy" : "waiting", reason: error.message };
    }
    const waited = Date.now() - started;
    if (judged.state === "unhealthy") throw new Error(judged.reason);
    if (waited > wait.timeoutSeconds * 1000) {
      throw new Error(`not converged within ${wait.timeoutSeconds} s: ${judged.reason}`);
    }
    if (judged.reason !== shown) wait.progress(judged.reason);
    shown = judged.reason;
    await sleep(POLL_MS, undefined, { signal: wait.signal });
  }
}
