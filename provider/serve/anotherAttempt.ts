import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { applicationName, type DeploymentConfig, type ServeDeployment } from "./config";
import { type DashboardAddress, getApplications, putApplications } from "./dashboard";
import { troubledDeployments } from "./health";
import type { Observation } from "./observation";

const POLL_MS = 100;
const TAKEN_OVER_WITHIN_MS = 10_000;

/**
 * Makes Ray try deployments again whose replicas failed to start, after `deployment` was PUT: Ray gives up after a few
 * attempts, and the same config once more changes nothing. Changing an option that running replicas take over without
 * notice, and back, does. `live` is what was there before.
 */
export async function anotherAttempt(
  address: DashboardAddress,
  deployment: ServeDeployment,
  live: Observation,
  signal: AbortSignal,
): Promise<void> {
  const troubled = troubledDeployments(live);
  const touched = withLongerShutdown(deployment, live, troubled);
  if (isDeepStrictEqual(touched, deployment)) return;
  await putApplications(address, touched, signal);
  for (const deadline = Date.now() + TAKEN_OVER_WITHIN_MS; Date.now() < deadline; ) {
    await sleep(POLL_MS, undefined, { signal });
    if (Object.keys(troubledDeployments(await getApplications(address, signal))).length === 0) break;
  }
  await putApplications(address, deployment, signal);
}

/** The config with a slightly longer shutdown timeout of the deployments in trouble that it names. */
function withLongerShutdown(
  deployment: ServeDeployment,
  live: Observation,
  troubled: Record<string, string[]>,
): ServeDeployment {
  const applications = deployment.applications.map((application) => {
    const name = applicationName(application);
    const longer = (entry: DeploymentConfig): DeploymentConfig => {
      const observed = live.applications[name]?.deployments[entry.name];
      if (observed === undefined || !troubled[name]?.includes(entry.name)) return entry;
      return { ...entry, graceful_shutdown_timeout_s: observed.gracefulShutdownTimeout + 0.01 };
    };
    if (application.deployments === undefined) return application;
    return { ...application, deployments: application.deployments.map(longer) };
  });
  return { ...deployment, applications };
}
