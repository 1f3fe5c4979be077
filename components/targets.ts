import { localHost } from "./local/host";
import { preflight as localPreflight } from "./local/preflight";
import type { RolloutRecord, Version } from "./record";
import type { StackConfig } from "./stackConfig";
import type { Target, TargetSettings } from "./target";

/** What there is to know of the machine that an update starts on. */
export interface Here {
  /** Folder of tools and packages. */
  home: string;
  environment: NodeJS.ProcessEnv;
}

/**
 * Finds what stands in the way of an update before anything changes.
 *
 * @returns what may stand in the way, for people to read
 * @throws InvalidInput with all the problems
 */
export async function preflight(
  config: StackConfig,
  wanted: Version,
  recorded: Pick<RolloutRecord, "primary" | "canary" | "surge"> | undefined,
  { home, environment }: Here,
): Promise<string[]> {
  if (config.kubernetes !== undefined) {
    const { maxSurgePercent, canaryPercent, inPlace } = config;
    // In place there is no second cluster.
    const intent = { wanted, recorded: inPlace === true ? undefined : recorded, maxSurgePercent, canaryPercent };
    return (await import("./kubernetes/preflight.js")).preflight(config.kubernetes, intent);
  }
  // The provider itself says what an account lacks.
  if (config.aws !== undefined || config.gcp !== undefined) return [];
  await localPreflight(localHost(home, environment), wanted, recorded, config.port);
  return [];
}

/** Where the config wants the service to run. Loads that target's SDK and no other. */
export async function targetOf(config: StackConfig, secret: boolean): Promise<Target> {
  const settings: TargetSettings = {
    service: config.service.name,
    startupTimeoutSeconds: config.startupTimeoutSeconds,
    drainTimeoutSeconds: config.drainTimeoutSeconds,
    idleTimeoutSeconds: config.idleTimeoutSeconds,
    port: config.port,
    secret,
  };
  if (config.kubernetes !== undefined) {
    return (await import("./kubernetes/index.js")).kubernetesTarget(settings, config.kubernetes);
  }
  if (config.aws !== undefined) return (await import("./aws/index.js")).awsTarget(settings, config.aws);
  if (config.gcp !== undefined) return (await import("./gcp/index.js")).gcpTarget(settings, config.gcp);
  return (await import("./local/index.js")).localTarget(settings);
}
