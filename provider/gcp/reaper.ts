import { setTimeout as sleep } from "node:timers/promises";
import { effect } from "../effects";
import type { OperationContext, ResourceType } from "../resource";
import { clusterLabel, deleteInstance, instancesOf } from "./instances";

export interface ReaperInputs {
  project: string;
  zone: string;
  /** Value of the label that Ray's autoscaler gives the machines of this cluster and of no other. */
  clusterName: string;
  /** Longest wait for the machines to be gone, seconds. */
  timeoutSeconds: number;
}

const POLL_MS = 2000;
/** A launch that the head had asked for at its end is listed within this. */
const QUIET_MS = 5000;

/**
 * `rayserve:gcp:Reaper`: nothing but its deletion, which comes after the head's and before that of what workers are made
 * of. Workers are Ray's and in no state of Pulumi's: it deletes all that have the cluster's label, and waits until they
 * are gone.
 */
export const reaper: ResourceType<ReaperInputs, ReaperInputs> = {
  check({ clusterName, timeoutSeconds }) {
    return [
      // An empty value would be every cluster's.
      ...(clusterName === "" ? [{ property: "clusterName", reason: "must be the cluster's name" }] : []),
      ...(timeoutSeconds !== undefined && !(timeoutSeconds > 0)
        ? [{ property: "timeoutSeconds", reason: `must be seconds above 0, got ${timeoutSeconds}` }]
        : []),
    ];
  },
  diff(state, inputs) {
    const replaces = (["project", "zone", "clusterName"] as const).filter((name) => state[name] !== inputs[name]);
    return { changes: replaces.length > 0 || state.timeoutSeconds !== inputs.timeoutSeconds, replaces };
  },
  create: async (inputs) => ({ id: inputs.clusterName, state: inputs }),
  read: async (_id, state) => state,
  update: async (_id, _state, inputs) => inputs,
  delete: (_id, state, context) => reap(state, context),
};

async function reap(state: ReaperInputs, { name, signal, progress }: OperationContext): Promise<void> {
  const { project, zone, clusterName, timeoutSeconds } = state;
  const end = Date.now() + timeoutSeconds * 1000;
  const told = new Set<string>();
  for (let quietSince: number | undefined; ; await sleep(POLL_MS, undefined, { signal })) {
    const there = await instancesOf(state, false, signal);
    for (const { name: instance } of there.filter((each) => !told.has(each.name))) {
      await effect("delete instance", instance, () => deleteInstance(state, instance, signal));
      told.add(instance);
    }
    quietSince = there.length > 0 ? undefined : (quietSince ?? Date.now());
    if (quietSince !== undefined && Date.now() - quietSince >= QUIET_MS) return;
    if (Date.now() >= end) {
      throw new Error(
        `${name}: ${there.map((each) => `${each.name} (${each.status})`).join(", ")} of ${clusterName} are still there ` +
          `after ${timeoutSeconds} s. Run the same command again, and see: gcloud compute instances list --project ` +
          `${project} --zones ${zone} --filter labels.${clusterLabel}=${clusterName}`,
      );
    }
    if (there.length > 0) progress(`waiting until ${there.length} machines of ${clusterName} are gone`);
  }
}
