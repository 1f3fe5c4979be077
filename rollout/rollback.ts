import { parseRolloutFlags } from "../components/stackConfig";
import type { CommandResult } from "./deploy";
import { Refused } from "./errors";
import { goBack, leftSmall } from "./return";
import { driving, isDeployed, type SessionOptions } from "./session";
import { deployedOutputs } from "./watchedUpdate";

export interface RollbackOptions extends SessionOptions {
  /** Whole percent, 1 to 100, from here on; the rollout's own when absent. */
  maxSurgePercent?: number | string | undefined;
}

/**
 * Walks a rollout back to the primary, or goes on with a walk back that was interrupted.
 *
 * @throws Refused when no rollout is under way
 * @throws StackLocked when another command or update works on the stack
 */
export async function rollback(options: RollbackOptions): Promise<CommandResult> {
  const began = Date.now();
  const { maxSurgePercent: limit } = options;
  const { maxSurgePercent } = parseRolloutFlags({ maxSurgePercent: limit === undefined ? undefined : String(limit) });
  return driving("rollback", options, async (session) => {
    const { emit, signal, stack } = session;
    const outputs = await stack.outputs(signal);
    const clusters = outputs === undefined ? [] : await stack.settle(signal);
    const left = isDeployed(outputs) && (clusters.length > 1 || leftSmall(outputs));
    if (!isDeployed(outputs) || (outputs.rollout.canary === undefined && !left)) {
      throw new Refused(
        "no rollout is under way, so there is nothing to roll back. `rayshift status` shows what runs. Nothing was changed.",
      );
    }
    const { primary, surge } = outputs.rollout;
    emit({ event: "started", command: "rollback", service: primary.spec.name, version: primary.name, notices: [] });
    await goBack(session, outputs, maxSurgePercent ?? surge);
    const { url = "" } = await deployedOutputs(session);
    const seconds = (Date.now() - began) / 1000;
    emit({ event: "finished", outcome: "rolledBack", version: primary.name, url, seconds });
    return { outcome: "rolledBack", version: primary.name, url };
  });
}
