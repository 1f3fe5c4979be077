import * as pulumi from "@pulumi/pulumi";
import { homeOf, SetUpIncomplete } from "./local/host";
import { refuseToMove } from "./moved";
import { projectKey } from "./nearestProject";
import { place, Refusal } from "./placement";
import { InvalidInput } from "./problems";
import { projectFolder } from "./projectFolder";
import { parseRecord, type RolloutRecord, type Version } from "./record";
import { type Addresses, Service } from "./service";
import { parseStackConfig } from "./stackConfig";
import { preflight, targetOf } from "./targets";
import { describeVersion } from "./version";

/** What the program exports; `rollout` and `targets` are what the next update and the driver go on from. */
export interface ServiceOutputs {
  url: pulumi.Output<string>;
  queryAuthToken: pulumi.Output<string> | undefined;
  rollout: RolloutRecord | pulumi.Output<RolloutRecord>;
  targets: pulumi.Output<Addresses>;
}

/**
 * The service of the current stack, from its config and its own last outputs. Problems end the update before anything
 * is registered, each as one message without a stack trace.
 */
export async function serviceFromStackConfig(): Promise<ServiceOutputs> {
  try {
    return await declareService();
  } catch (error) {
    const told = InvalidInput.isInstance(error) || Refusal.isInstance(error) || error instanceof SetUpIncomplete;
    if (!told) throw error;
    const refusal = new pulumi.RunError(error.message);
    // Pulumi colours the stack of what a program throws, which takes Node many seconds for frames inside of packages.
    refusal.stack = "";
    throw refusal;
  }
}

async function declareService(): Promise<ServiceOutputs> {
  const config = parseStackConfig(rawConfig());
  for (const notice of config.notices) await pulumi.log.warn(notice);
  const recorded = await recordedOutputs();
  refuseToMove(config, recorded.targets);
  const { primary, canary } = recorded.rollout ?? {};
  const described = await describeVersion(config.service, projectFolder(), {
    pinned: config.workingDirDigest,
    running: [primary, canary].filter((version) => version !== undefined),
  });
  const wanted: Version = { ...described, written: config.written };
  const here = { home: homeOf(projectFolder()), environment: process.env };
  // Elsewhere a plan needs no cluster to be there, and what was deployed once has found it.
  if (config.target === "local" || !(pulumi.runtime.isDryRun() || recorded.rollout !== undefined)) {
    for (const notice of await preflight(config, wanted, recorded.rollout, here)) await pulumi.log.warn(notice);
  }
  const placement = place(config, wanted, recorded.rollout, new Date());
  for (const notice of placement.notices) await pulumi.log.info(notice);
  const secret = isSecret("service");
  const service = new Service(config.service.name, {
    target: await targetOf(config, secret),
    placement,
    recorded: recorded.targets,
  });
  const { url, queryAuthToken, rollout, addresses } = service;
  return { url, queryAuthToken, rollout: secret ? pulumi.secret(rollout) : rollout, targets: addresses };
}

/** Every config value of the project's namespace, by its bare key. */
function rawConfig(): Record<string, string> {
  const prefix = `${pulumi.getProject()}:`;
  return Object.fromEntries(
    Object.entries(pulumi.runtime.allConfig())
      .filter(([key]) => key.startsWith(prefix) && key !== `${prefix}${projectKey}`)
      .map(([key, value]) => [key.slice(prefix.length), value]),
  );
}

/** Whether a config value is encrypted, so that nothing made of it may be kept readable. */
function isSecret(key: string): boolean {
  const secretKeys: string[] = JSON.parse(process.env.PULUMI_CONFIG_SECRET_KEYS ?? "[]");
  return secretKeys.includes(`${pulumi.getProject()}:${key}`);
}

/** The outputs of the stack's last completed update: empty before the first, and unchanged by one that failed. */
async function recordedOutputs(): Promise<{ rollout: RolloutRecord | undefined; targets: Addresses | undefined }> {
  const itself = new pulumi.StackReference(`${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`);
  const [rollout, targets] = await Promise.all(["rollout", "targets"].map((name) => itself.getOutputDetails(name)));
  return {
    rollout: parseRecord(rollout?.value ?? rollout?.secretValue),
    targets: targets?.value ?? targets?.secretValue,
  };
}
