import { setTimeout as sleep } from "node:timers/promises";
import { effect } from "../effects";
import type { OperationContext, ResourceType } from "../resource";
import { clusterTag, instancesOf, terminateInstances } from "./instances";

export interface ReaperInputs {
  region: string;
  /** Value of the tag that Ray's autoscaler gives the machines of this cluster and of no other. */
  clusterName: string;
  /** Longest wait for the machines to be gone, seconds. */
  timeoutSeconds: number;
}

const POLL_MS = 2000;
/** A launch that the head had asked for at its end shows up in EC2's lists within this. */
const QUIET_MS = 5000;

/**
 * `rayserve:aws:Reaper`: nothing but its deletion, which comes after the head's and before that of what workers are made
 * of. Workers are Ray's and in no state of Pulumi's: it ends all that have the cluster's tag, and waits until they are gone.
 */
export const reaper: ResourceType<ReaperInputs, ReaperInputs> = {
  check({ clusterName, timeoutSeconds }) {
    return [
      // An empty value would be every cluster's.
      ...(clusterName === "" ? [{ property: "clusterName", reason: "must be the cluster's name" }] : []),
      ...(timeoutSeconds !== undefined && !(timeoutSeconds > 0)
        ? [{ property: "timeoutSeconds", reason: `seconds above 0, got ${timeoutSeconds}` }]
        : []),
    ];
  },
  diff(state, inputs) {
    const replaces = (["region", "clusterName"] as const).filter((name) => state[name] !== inputs[name]);
    return { changes: replaces.length > 0 || state.timeoutSeconds !== inputs.timeoutSeconds, replaces };
  },
  create: async (inputs) => ({ id: inputs.clusterName, state: inputs }),
  read: async (_id, state) => state,
  update: async (_id, _state, inputs) => inputs,
  delete: (_id, state, context) => reap(state, context),
};

async function reap(state: ReaperInputs, { name, signal, progress }: OperationContext): Promise<void> {
  const { region, clusterName, timeoutSeconds } = state;
  const end = Date.now() + timeoutSeconds * 1000;
  let quietSince: number | undefined;
  for (;;) {
    const there = await instancesOf(state, false, signal);
    const running = there.filter(({ state: now }) => now !== "shutting-down").map(({ id }) => id);
    if (running.length > 0) {
      await effect("terminate instances", running.join(" "), () => terminateInstances(state, running, signal));
    }
    if (there.length > 0) quietSince = undefined;
    else quietSince ??= Date.now();
    if (quietSince !== undefined && Date.now() - quietSince >= QUIET_MS) return;
    if (Date.now() >= end) {
      throw new Error(
        `${name}: ${there.map(({ id, state: now }) => `${id} (${now})`).join(", ")} of ${clusterName} are still there after ` +
          `${timeoutSeconds} s. Run the same command again, and see: aws ec2 describe-instances --region ${region} ` +
          `--filters Name=tag:${clusterTag},Values=${clusterName}`,
      );
    }
    if (there.length > 0) progress(`waiting until ${there.length} machines of ${clusterName} are gone`);
    await sleep(POLL_MS, undefined, { signal });
  }
}
