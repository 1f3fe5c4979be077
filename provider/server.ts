import type { provider } from "@pulumi/pulumi";
import { type EngineLog, engineLog } from "./engineLog";
import { type OperationContext, PartialFailure, type ResourceType } from "./resource";
import { secretKeys, unwrap, wrapSecrets } from "./wire";

// biome-ignore lint/suspicious/noExplicitAny: the engine's bags are untyped; each resource type checks its own inputs.
type Bag = any;

/** Resource types by their token, `package:module:Type`. */
export type ResourceTypes = Readonly<Record<string, ResourceType<Bag, Bag>>>;

/** How many operations are under way: a provider without its engine ends when there are none. */
export const underway = { count: 0 };

/** The engine's view of a set of resource types. `signal` ends every operation under way. */
export function providerFor(
  types: ResourceTypes,
  version: string,
  signal: AbortController,
  log: EngineLog = engineLog(),
): provider.Provider {
  const typeOf = (urn: string): ResourceType<Bag, Bag> => {
    const token = urn.split("::").at(-2)?.split("$").at(-1) ?? "";
    const type = types[token];
    if (type === undefined) throw new Error(`unknown resource type ${token}`);
    return type;
  };
  const contextOf = (urn: string): OperationContext => ({
    urn,
    name: urn.split("::").at(-1) ?? urn,
    signal: signal.signal,
    progress: (message) => log(urn, "info", message, true),
    warn: (message) => log(urn, "warning", message, false),
  });
  // What came as a secret goes back as one: the engine would keep it readable in the state otherwise.
  const stateOf = (type: ResourceType<Bag, Bag>, state: object, given: Bag) =>
    wrapSecrets(state, [...(type.secrets ?? []), ...secretKeys(given)]);
  const guarded = async <T>(type: ResourceType<Bag, Bag>, given: Bag, operation: () => Promise<T>): Promise<T> => {
    signal.signal.throwIfAborted();
    underway.count++;
    try {
      return await operation();
    } catch (error) {
      throw error instanceof PartialFailure ? initialisationError(error, stateOf(type, error.state, given)) : error;
    } finally {
      underway.count--;
    }
  };

  return {
    version,
    async check(urn, _olds, news) {
      const failures = typeOf(urn).check((unwrap(news) ?? {}) as Bag);
      return { inputs: news, failures };
    },
    async diff(_id, urn, olds, news) {
      const { changes, replaces = [] } = typeOf(urn).diff(unwrap(olds) as Bag, unwrap(news) as Bag);
      return { changes, replaces, deleteBeforeReplace: replaces.length > 0 };
    },
    async create(urn, inputs) {
      const type = typeOf(urn);
      const { id, state } = await guarded(type, inputs, () => type.create(unwrap(inputs) as Bag, contextOf(urn)));
      return { id, outs: stateOf(type, state, inputs) };
    },
    async read(id, urn, props) {
      const type = typeOf(urn);
      const state = await guarded(type, props, () => type.read(id, unwrap(props) as Bag, contextOf(urn)));
      return state === undefined ? { id: "", props: {} } : { id, props: stateOf(type, state, props) };
    },
    async update(id, urn, olds, news) {
      const type = typeOf(urn);
      const state = await guarded(type, news, () =>
        type.update(id, unwrap(olds) as Bag, unwrap(news) as Bag, contextOf(urn)),
      );
      return { outs: stateOf(type, state, news) };
    },
    async delete(id, urn, props) {
      const type = typeOf(urn);
      await guarded(type, props, () => type.delete(id, unwrap(props) as Bag, contextOf(urn)));
    },
    async cancel() {
      signal.abort(new Error("the update was cancelled"));
    },
  };
}

/** The error shape that the SDK's server turns into "created, but not initialised". */
function initialisationError(failure: PartialFailure, properties: object): Error {
  return Object.assign(new Error(failure.message), { id: failure.id, properties, reasons: [failure.message] });
}
