import { isDeepStrictEqual } from "node:util";
import type { OperationContext, ResourceType } from "../resource";
import type { Share } from "./guards";
import { proveReady } from "./readiness";
import { checkWeights } from "./weights";

interface WeightedBackend {
  version: string;
  /** Percent of the requests. */
  weight: number;
}

export interface BackendsInputs<Backend extends WeightedBackend> {
  backends: Backend[];
  /** Nobody asks: the traffic cannot be worse off than it is. */
  immediate?: boolean;
  /** Longest wait of a proof; another one is no change. */
  timeoutSeconds?: number;
}

/**
 * A resource that stands before a load balancer's weights: every version that is to get more traffic than it has now is
 * proven ready for it.
 *
 * @param weightsNow - percent of the requests by version, as the load balancer divides them before the change
 * @param prove - throws when the version cannot take its weight
 */
export function readinessType<Backend extends WeightedBackend, Inputs extends BackendsInputs<Backend>>(
  weightsNow: (inputs: Inputs, signal: AbortSignal) => Promise<Record<string, Share>>,
  prove: (inputs: Inputs, backend: Backend, context: OperationContext) => Promise<void>,
): ResourceType<Inputs, Inputs> {
  const proveRising = async (inputs: Inputs, context: OperationContext): Promise<Inputs> => {
    const { immediate, ...lasting } = inputs;
    if (immediate !== true) {
      const had = await weightsNow(inputs, context.signal);
      for (const backend of inputs.backends) {
        const { version, weight } = backend;
        if (weight === 0 || weight <= (had[version]?.weight ?? 0)) continue;
        await proveReady(version, weight, context, () => prove(inputs, backend, context));
      }
    }
    return lasting as Inputs;
  };
  return {
    check: ({ backends }) => checkWeights(backends),
    diff: (state, inputs) => ({ changes: !isDeepStrictEqual(comparable(state), comparable(inputs)) }),
    create: async (inputs, context) => ({ id: context.name, state: await proveRising(inputs, context) }),
    read: async (_id, state) => state,
    update: (_id, _state, inputs, context) => proveRising(inputs, context),
    delete: async () => {},
  };
}

function comparable({ immediate: _, timeoutSeconds: _longest, ...rest }: BackendsInputs<WeightedBackend>): object {
  return JSON.parse(JSON.stringify(rest));
}
