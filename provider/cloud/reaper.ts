import { setTimeout as sleep } from "node:timers/promises";
import { effect } from "../effects";
import type { OperationContext, ResourceType } from "../resource";

export interface ReaperInputs {
  /** Value of the tag or label that Ray's autoscaler gives the machines of this cluster and of no other. */
  clusterName: string;
  /** Longest wait for the machines to be gone, seconds. */
  timeoutSeconds: number;
}

/** The machines of clusters as a cloud's API has them. */
export interface Machines<Inputs extends ReaperInputs> {
  /** Names of the inputs that say which they are. */
  identity: ReadonlyArray<keyof Inputs & string>;
  /** Those of a cluster that are not gone. */
  list(inputs: Inputs, signal: AbortSignal): Promise<Array<{ name: string; state: string }>>;
  /** Tells the cloud to end them, which takes it a while. */
  end(inputs: Inputs, names: readonly string[], signal: AbortSignal): Promise<void>;
  /** The command that shows them. */
  see(inputs: Inputs): string;
}

const POLL_MS = 2000;
/** A launch that the head had asked for at its end is listed within this. */
const QUIET_MS = 5000;

/**
 * A resource that is nothing but its deletion, which comes after the head's and before that of what workers are made of.
 * Workers are Ray's and in no state of Pulumi's: it ends all that have the cluster's name, and waits until they are gone.
 */
export function reaperType<Inputs extends ReaperInputs>(machines: Machines<Inputs>): ResourceType<Inputs, Inputs> {
  return {
    check({ clusterName, timeoutSeconds }: Partial<ReaperInputs>) {
      return [
        // An empty value would be every cluster's.
        ...(clusterName === "" ? [{ property: "clusterName", reason: "must be the cluster's name" }] : []),
        ...(timeoutSeconds !== undefined && !(timeoutSeconds > 0)
          ? [{ property: "timeoutSeconds", reason: `must be seconds above 0, got ${timeoutSeconds}` }]
          : []),
      ];
    },
    diff(state, inputs) {
      const replaces = machines.identity.filter((name) => state[name] !== inputs[name]);
      return { changes: replaces.length > 0 || state.timeoutSeconds !== inputs.timeoutSeconds, replaces };
    },
    create: async (inputs) => ({ id: inputs.clusterName, state: inputs }),
    read: async (_id, state) => state,
    update: async (_id, _state, inputs) => inputs,
    delete: (_id, state, context) => reap(machines, state, context),
  };
}

async function reap<Inputs extends ReaperInputs>(
  { list, end, see }: Machines<Inputs>,
  inputs: Inputs,
  { name, signal, progress }: OperationContext,
): Promise<void> {
  const { clusterName, timeoutSeconds } = inputs;
  const deadline = Date.now() + timeoutSeconds * 1000;
  const told = new Set<string>();
  for (let quietSince: number | undefined; ; await sleep(POLL_MS, undefined, { signal })) {
    const there = await list(inputs, signal);
    const others = there.map((machine) => machine.name).filter((machine) => !told.has(machine));
    if (others.length > 0) await effect("end machines", others.join(" "), () => end(inputs, others, signal));
    for (const machine of others) told.add(machine);
    quietSince = there.length > 0 ? undefined : (quietSince ?? Date.now());
    if (quietSince !== undefined && Date.now() - quietSince >= QUIET_MS) return;
    if (Date.now() >= deadline) {
      throw new Error(
        `${name}: ${there.map((machine) => `${machine.name} (${machine.state})`).join(", ")} of ${clusterName} are still ` +
          `there after ${timeoutSeconds} s. Run the same command again, and see: ${see(inputs)}`,
      );
    }
    if (there.length > 0) progress(`waiting until ${there.length} machines of ${clusterName} are gone`);
  }
}
