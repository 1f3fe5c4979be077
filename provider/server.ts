import type { provider } from "@pulumi/pulumi";
import { type EngineLog, engineLog } from "./engineLog";
import { type OperationContext, PartialFailure, type ResourceType } from "./resource";
import { unwrap, wrapSecrets } from "./wire";

// biome-ignore lint/suspicious/noExplicitAny: the engine's bags are untyped; each resource type checks its own inputs.
type Bag = any;

/** Resource types by their token, `package:module:Type`. */
export type ResourceTypes = Readonly<Record<string, ResourceType<Bag, Bag>>>;

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
  const stateOf = (type: ResourceType<Bag, Bag>, state: object) => wrapSecrets(state, type.secrets ?? []);
  const guarded = async <T>(type: ResourceType<Bag, Bag>, operation: () => Promise<T>): Promise<T> => {
    signal.signal.throwIfAborted();
    try {
      return await operation();
    } catch (error) {
      throw error instanceof PartialFailure ? initialisationError(error, stateOf(type, error.state)) : error;
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
      const { id, state } = await guarded(type, () => type.create(unwrap(inputs) as Bag, contextOf(urn)));
      return { id, outs: stateOf(type, state) };
    },
    async read(id, urn, props) {
      const type = typeOf(urn);
      const state = await guarded(type, () => type.read(id, unwrap(props) as Bag, contextOf(urn)));
      return state === undefined ? { id: "", props: {} } : { id, props: stateOf(type, state) };
    },
    async update(id, urn, olds, news) {
      const type = typeOf(urn);
      const state = await guarded(type, () =>
        type.update(id, unwrap(olds) as Bag, unwrap(news) as Bag, contextOf(urn)),
      );
      return { outs: stateOf(type, state) };
    },
    async delete(id, urn, props) {
      const type = typeOf(urn);
      await guarded(type, () => type.delete(id, unwrap(props) as Bag, contextOf(urn)));
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
