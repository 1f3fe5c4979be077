/** What one resource type of the provider implements. The engine's protocol, secrets and cancellation are in server.ts. */

/** One problem of a resource's inputs: the property and the rule it breaks, with the remedy. */
export interface CheckFailure {
  property: string;
  reason: string;
}

/** What an operation may use beside its inputs. */
export interface OperationContext {
  /** The resource's URN. */
  urn: string;
  /** The resource's logical name, the last part of its URN. */
  name: string;
  /** Aborted when the update is cancelled or the engine is gone: stop before the next effect. */
  signal: AbortSignal;
  /** Shows one line of progress beside the resource; it is not kept. */
  progress(message: string): void;
  /** Warns the user; shown with the resource and kept in the update's diagnostics. */
  warn(message: string): void;
}

/** Whether new inputs change a resource, and which properties cannot change in place. */
export interface Difference {
  changes: boolean;
  /** Properties that force a replacement. */
  replaces?: string[];
}

/**
 * A resource type. `State` is what the stack keeps: all inputs and what the operation learned. The engine gives only
 * the state back to `diff`, `update`, `read` and `delete`, so whatever those need has to be in it.
 */
export interface ResourceType<Inputs extends object, State extends Inputs> {
  /** Names of inputs that are secrets: plain here, encrypted in the stack. */
  readonly secrets?: readonly (keyof State & string)[];
  /** All problems of the inputs; values unknown in a preview are absent. */
  check(inputs: Partial<Inputs>): CheckFailure[];
  diff(state: State, inputs: Inputs): Difference;
  /** Idempotent: a create that was killed half way is taken up by the next one. */
  create(inputs: Inputs, context: OperationContext): Promise<{ id: string; state: State }>;
  /** The live state, or undefined when the resource is gone. */
  read(id: string, state: State, context: OperationContext): Promise<State | undefined>;
  update(id: string, state: State, inputs: Inputs, context: OperationContext): Promise<State>;
  /** Succeeds when the resource is already gone. */
  delete(id: string, state: State, context: OperationContext): Promise<void>;
}

/**
 * An effect took place but the resource did not get where it should: the stack keeps `state`, and the next update acts
 * on the resource again whether or not its inputs changed.
 */
export class PartialFailure extends Error {
  override readonly name = "PartialFailure";
  constructor(
    message: string,
    readonly id: string,
    readonly state: object,
  ) {
    super(message);
  }
}
