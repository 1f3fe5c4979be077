import { setTimeout as sleep } from "node:timers/promises";
import type { OperationContext } from "../resource";

/**
 * Looks until nothing is wrong. What is wrong is told whenever that changes.
 *
 * @param whatIsWrong - undefined when nothing is
 * @throws what `failure` makes of that when the time is over
 */
export async function untilRight(
  { timeoutSeconds, pollMs }: { timeoutSeconds: number; pollMs: number },
  { signal, progress }: Pick<OperationContext, "signal" | "progress">,
  whatIsWrong: () => Promise<string | undefined>,
  failure: (problem: string) => string,
): Promise<void> {
  let shown = "";
  for (const end = Date.now() + timeoutSeconds * 1000; ; await sleep(pollMs, undefined, { signal })) {
    const problem = await whatIsWrong();
    if (problem === undefined) return;
    if (Date.now() >= end) throw new Error(failure(problem));
    if (problem !== shown) progress(problem);
    shown = problem;
  }
}
