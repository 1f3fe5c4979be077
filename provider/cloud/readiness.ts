import type { OperationContext, ResourceType } from "../resource";
import type { CloudDashboard } from "../serve/dashboard";
import type { MarkerAddress, Share } from "../serve/guards";
import { assertReadyFor } from "../serve/readiness";
import { type BackendsInputs, readinessType } from "../serve/readinessType";
import { untilRight } from "../serve/untilRight";
import { addressesOf, ask, readMarkerWeights, versionHeader } from "./marker";

/** A version's cluster behind a cloud's load balancer; `weight` in percent of the requests. */
export interface Backend extends CloudDashboard {
  version: string;
  role: "primary" | "canary";
  weight: number;
}

export interface ReadinessInputs extends BackendsInputs<Backend> {
  marker: MarkerAddress;
  /** Where versions are asked by their header, in a cloud that has another door for that. */
  versions?: MarkerAddress;
  /** Longest wait for the load balancer to find a backend healthy, seconds. */
  timeoutSeconds: number;
}

const POLL_MS = 500;

/**
 * `rayserve:cloud:Readiness`: stands before the weights of a cloud's load balancer. Every version that is to get more
 * traffic than it has now has the replicas for it, and answers through the load balancer by its version header.
 */
export const readiness: ResourceType<ReadinessInputs, ReadinessInputs> = readinessType<Backend, ReadinessInputs>(
  async ({ marker }, signal) => {
    // Before the first weights there is no marker.
    const had = await readMarkerWeights(marker, signal).catch((): Record<string, Share> => ({}));
    signal.throwIfAborted();
    return had;
  },
  async (inputs, backend, context) => {
    await assertReadyFor(backend, backend.weight, context.signal);
    await answersEverywhere(inputs, backend, context);
  },
);

/** A load balancer has its own mind of a backend's health, and takes its time to make it up. */
async function answersEverywhere(
  { marker, versions = marker, timeoutSeconds }: ReadinessInputs,
  { role }: Backend,
  context: OperationContext,
): Promise<void> {
  await untilRight(
    { timeoutSeconds, pollMs: POLL_MS },
    context,
    () => whereNot(versions, role, context.signal),
    (problem) =>
      `the load balancer does not reach it after ${timeoutSeconds} s: ${problem} (a header ${versionHeader}: ${role} to ` +
      "/-/healthz; the health of its targets is in the cloud's console)",
  );
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
