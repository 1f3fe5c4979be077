import { isDeepStrictEqual } from "node:util";
import type { OperationContext, ResourceType } from "../resource";
import type { MarkerAddress } from "../serve/guards";
import { untilRight } from "../serve/untilRight";
import { checkSeconds, checkWeights } from "../serve/weights";
import { addressesOf, readMarkerWeights, weightsAt } from "./marker";

export interface RoutedInputs {
  marker: MarkerAddress;
  /** By version, in percent. */
  backends: Array<{ version: string; weight: number }>;
  timeoutSeconds: number;
}

const POLL_MS = 500;
/** So many answers in a row at each address: more than one machine may stand behind it. */
const ANSWERS = 5;

/**
 * `rayserve:cloud:Routed`: stands after the weights of a cloud's load balancer. Its data plane answers with the marker of
 * these weights at every address that it has.
 */
export const routed: ResourceType<RoutedInputs, RoutedInputs> = {
  check: ({ backends, timeoutSeconds }) => [...checkWeights(backends), ...checkSeconds({ timeoutSeconds })],
  diff: (state, inputs) => ({ changes: !isDeepStrictEqual(comparable(state), comparable(inputs)) }),
  async create(inputs, context) {
    await inEffect(inputs, context);
    return { id: context.name, state: inputs };
  },
  async read(_id, state, { signal }) {
    const live = await readMarkerWeights(state.marker, signal);
    return { ...state, backends: Object.entries(live).map(([version, { weight }]) => ({ version, weight })) };
  },
  async update(_id, _state, inputs, context) {
    await inEffect(inputs, context);
    return inputs;
  },
  delete: async () => {},
};

/** Whatever the order of keys and of versions. */
function comparable({ marker, backends }: RoutedInputs): unknown {
  return [JSON.parse(JSON.stringify(marker)), asMap(backends)];
}

const asMap = (backends: RoutedInputs["backends"]) =>
  Object.fromEntries(backends.map(({ version, weight }) => [version, weight]));

async function inEffect(inputs: RoutedInputs, context: OperationContext): Promise<void> {
  const { marker, timeoutSeconds } = inputs;
  await untilRight(
    { timeoutSeconds, pollMs: POLL_MS },
    context,
    () => whereNot(inputs, context.signal),
    (problem) =>
      `the weights were written but are not in effect after ${timeoutSeconds} s: ${problem}. No cluster was shrunk. ` +
      `Does this machine reach ${marker.url}?`,
  );
}

async function whereNot({ marker, backends }: RoutedInputs, signal: AbortSignal): Promise<string | undefined> {
  const wanted = asMap(backends);
  const addresses = await addressesOf(marker).catch((error: Error) => error);
  if (addresses instanceof Error) return addresses.message;
  for (const ip of addresses) {
    for (let answer = 0; answer < ANSWERS; answer++) {
      const weights = await weightsAt(marker, ip, signal);
      if (weights instanceof Error) return weights.message;
      if (!isDeepStrictEqual(weights, wanted)) return `${ip} still goes by ${JSON.stringify(weights)}`;
    }
  }
  return undefined;
}
