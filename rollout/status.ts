import { setTimeout as sleep } from "node:timers/promises";
import type { Phase } from "../components/record";
import type { ConfiguredWaypoint } from "../components/stackConfig";
import type { ConfigFile } from "./configFile";
import { UpdateFailed } from "./errors";
import type { ClusterStatus } from "./events";
import { inspect } from "./inspect";
import { isDeployed, openSession, type SessionOptions } from "./session";

/**
 * `TERMINATED`: nothing is deployed. `STARTING`: the first update of all has not ended. `UNHEALTHY`: a part of the service
 * does not answer, or Ray reports it.
 */
export const states = ["STARTING", "RUNNING", "ROLLING_OUT", "ROLLING_BACK", "UNHEALTHY", "TERMINATED"] as const;
export type State = (typeof states)[number];

/** What runs now, at which capacity and traffic, and why it is waiting. */
export interface ServiceStatus {
  state: State;
  service?: string;
  url?: string;
  primary?: ClusterStatus;
  canary?: ClusterStatus;
  /** ISO times; only during a rollout. */
  startedAt?: string;
  deadline?: string;
  /** Percent; only during a rollout that has a limit. */
  surge?: number;
  /** Parts that do not answer, and why a version is unhealthy. */
  problems: string[];
}

/** Asks Ray and the load balancer; changes nothing and needs no lock. */
export async function status(options: SessionOptions): Promise<ServiceStatus> {
  const { stack, config, signal } = await openSession(options);
  const outputs = await stack.outputs(signal);
  if (!isDeployed(outputs)) {
    const begun = outputs !== undefined && (await stack.holdsService(signal));
    return begun ? { state: "STARTING", problems: [notEnded] } : { state: "TERMINATED", problems: [] };
  }
  const { rollout, targets, url } = outputs;
  const seen = await inspect(rollout, targets, signal);
  const problems = [
    ...seen.gone.map((part) => `${part} does not answer`),
    ...(seen.drifted ? ["somebody changed the load balancer's weights; `rayshift deploy` puts them right"] : []),
    ...(seen.unhealthy.primary === undefined ? [] : [`${seen.primary.version}: ${seen.unhealthy.primary}`]),
    ...(seen.unhealthy.canary === undefined ? [] : [`${seen.canary?.version}: ${seen.unhealthy.canary}`]),
  ];
  const { startedAt, deadline, surge } = rollout;
  const begun = rollout.canary === undefined ? begunIn(config) : undefined;
  const canary = seen.canary ?? begun?.canary;
  return {
    state: problems.length > 0 ? "UNHEALTHY" : (begun?.phase ?? rollout.phase),
    service: rollout.primary.spec.name,
    ...(url === undefined ? {} : { url }),
    primary: seen.primary,
    ...(canary ? { canary } : {}),
    ...(rollout.canary && startedAt ? { startedAt } : {}),
    ...(rollout.canary && deadline ? { deadline } : {}),
    ...(surge === undefined ? {} : { surge }),
    problems,
  };
}

const notEnded = "its first update has not ended; if no command runs, `rayshift deploy` goes on";

/** The canary of a first update that has not ended: the record does not know it yet, the config does. */
function begunIn(config: ConfigFile): { phase: Phase; canary: ClusterStatus } | undefined {
  const text = config.read().waypoint;
  if (text === undefined) return undefined;
  const { canary: version, canaryCapacity: capacity, direction } = JSON.parse(text) as ConfiguredWaypoint;
  return {
    phase: direction === "back" ? "ROLLING_BACK" : "ROLLING_OUT",
    canary: { version, capacity, traffic: null, replicas: null, workers: null, waitsFor: notEnded },
  };
}

export interface WaitOptions extends SessionOptions {
  /** `RUNNING` when absent. */
  state?: State | undefined;
  /** 600 when absent. */
  timeoutSeconds?: number | undefined;
}

const pollMs = 1000;

/** Waits until the service is in a state; throws UpdateFailed when the time is over. */
export async function wait({
  state = "RUNNING",
  timeoutSeconds = 600,
  ...options
}: WaitOptions): Promise<ServiceStatus> {
  const end = Date.now() + timeoutSeconds * 1000;
  for (;;) {
    const now = await status(options);
    if (now.state === state) return now;
    if (Date.now() >= end) {
      const why = now.problems.length > 0 ? `: ${now.problems.join("; ")}` : "";
      throw new UpdateFailed(`the service is ${now.state} and not ${state} after ${timeoutSeconds} seconds${why}`);
    }
    await sleep(
      Math.min(pollMs, end - Date.now()),
      undefined,
      options.signal === undefined ? {} : { signal: options.signal },
    );
  }
}
