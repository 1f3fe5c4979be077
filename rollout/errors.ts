/** Failures that callers tell apart. Each has the exit code that the command line ends with. */
export abstract class RayshiftError extends Error {
  abstract readonly exitCode: number;
}

/** The input, or what it asks for now, is not allowed; nothing was changed. Exit code 2. */
export class Refused extends RayshiftError {
  override readonly name = "Refused";
  readonly exitCode = 2;
}

/** The canary was unhealthy and the primary serves everything again. Exit code 3. */
export class RolledBack extends RayshiftError {
  override readonly name: string = "RolledBack";
  readonly exitCode: number = 3;
  constructor(
    /** The version that was rejected. */
    readonly version: string,
    /** Why, in Ray's words. */
    readonly reason: string,
  ) {
    super(`version ${version} was rolled back: ${reason}`);
  }
}

/** The rollout was not complete at its deadline and was rolled back. Exit code 4. */
export class DeadlinePassed extends RolledBack {
  override readonly name = "DeadlinePassed";
  override readonly exitCode = 4;
}

/** Another command or update works on the stack. Exit code 5. */
export class StackLocked extends RayshiftError {
  override readonly name = "StackLocked";
  readonly exitCode = 5;
}

/** An update failed for a reason that is not the canary's health. Exit code 1. */
export class UpdateFailed extends RayshiftError {
  override readonly name: string = "UpdateFailed";
  readonly exitCode = 1;
}

/** The engine's or the provider's process ended in the middle of an update, which says nothing of a version. Exit code 1. */
export class EngineEnded extends UpdateFailed {
  override readonly name = "EngineEnded";
}

/** An update of a way back failed beside a canary that is unhealthy, and may be what it failed on. Exit code 1. */
export class CanaryInTheWay extends UpdateFailed {
  override readonly name = "CanaryInTheWay";
}

/** The exit code of anything thrown: 1 for what nobody foresaw, 2 for invalid input. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof RayshiftError) return error.exitCode;
  const refusals = ["InvalidInput", "Refusal", "SetUpIncomplete"];
  return error instanceof Error && refusals.includes(error.name) ? 2 : 1;
}
