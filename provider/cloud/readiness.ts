import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { OperationContext, ResourceType } from "../resource";
import type { CloudDashboard } from "../serve/dashboard";
import type { MarkerAddress, Share } from "../serve/guards";
import { assertReadyFor, proveReady } from "../serve/readiness";
import { checkWeights } from "../serve/weights";
import { addressesOf, ask, readMarkerWeights, versionHeader } from "./marker";

/** A version's cluster behind a cloud's load balancer; `weight` in percent of the requests. */
export interface Backend extends CloudDashboard {
  version: string;
  role: "primary" | "canary";
  weight: number;
}

export interface ReadinessInputs {
  marker: MarkerAddress;
  /** Where versions are asked by their header, in a cloud that has another door for that. */
  versions?: MarkerAddress;
  backends: Backend[];
  /** Longest wait for the load balancer to find a backend healthy, seconds. */
  timeoutSeconds: number;
  /** Nobody asks: the traffic cannot be worse off than it is. */
  immediate?: boolean;
}

const POLL_MS = 500;

/**
 * `rayserve:cloud:Readiness`: stands before the weights of a cloud's load balancer. Every version that is to get more
 * traffic than it has now has the replicas for it, and answers through the load balancer by its version header.
 */
export const readiness: ResourceType<ReadinessInputs, ReadinessInputs> = {
  check: ({ backends }) => checkWeights(backends),
  diff: (state, inputs) => ({ changes: !isDeepStrictEqual(comparable(state), comparable(inputs)) }),
  async create(inputs, context) {
    await proveRising(inputs, context);
    return { id: context.name, state: withoutImmediate(inputs) };
  },
  read: async (_id, state) => state,
  async update(_id, _state, inputs, context) {
    await proveRising(inputs, context);
    return withoutImmediate(inputs);
  },
  delete: async () => {},
};

const comparable = ({ backends, marker, versions }: ReadinessInputs) =>
  JSON.parse(JSON.stringify({ backends, marker, versions }));

async function proveRising(inputs: ReadinessInputs, context: OperationContext): Promise<void> {
  const { marker, backends, immediate } = inputs;
  if (immediate === true) return;
  // Before the first weights there is no marker.
  const had = await readMarkerWeights(marker, context.signal).catch((): Record<string, Share> => ({}));
  context.signal.throwIfAborted();
  for (const backend of backends) {
    const { version, weight } = backend;
    if (weight === 0 || weight <= (had[version]?.weight ?? 0)) continue;
    await proveReady(version, weight, context, async () => {
      await assertReadyFor(backend, weight, context.signal);
      await answersEverywhere(inputs, backend, context);
    });
  }
}

/** A load balancer has its own mind of a backend's health, and takes its time to make it up. */
async function answersEverywhere(
  { marker, versions = marker, timeoutSeconds }: ReadinessInputs,
  { role }: Backend,
  { signal, progress }: OperationContext,
): Promise<void> {
  let shown = "";
  for (const end = Date.now() + timeoutSeconds * 1000; ; await sleep(POLL_MS, undefined, { signal })) {
    const problem = await whereNot(versions, role, signal);
    if (problem === undefined) return;
    if (Date.now() >= end) {
      throw new Error(
        `the load balancer does not reach it after ${timeoutSeconds} s: ${problem} (a header ${versionHeader}: ${role} to ` +
          "/-/healthz; the health of its targets is in the cloud's console)",
      );
    }
    if (problem !== shown) progress(problem);
    shown = problem;
  }
}

async function whereNot(marker: MarkerAddress, role: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    for (const ip of await addressesOf(marker)) {
      const { status } = await ask(marker, ip, "/-/healthz", { [versionHeader]: role }, signal);
      if (status !== 200) return `${ip} answers ${status}`;
    }
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return (error as Error).message;
  }
}

function withoutImmediate({ immediate: _, ...lasting }: ReadinessInputs): ReadinessInputs {
  return lasting;
}
