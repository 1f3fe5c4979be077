/** Set by bin/pulumi-resource-rayserve. */
export const engineVariable = "RAYSHIFT_ENGINE";
const intervalMs = 100;
/** Longest time that operations may take to undo what they had begun. */
const graceMs = 30_000;

/**
 * Aborts when the process that started this one is gone: a killed engine leaves its plugins alive, and what they would
 * still do could meet the next command's effects. Operations see the signal before their next effect and undo a half-made
 * creation; the process ends when none is under way.
 *
 * @param engine pid of the engine, as the plugin's starter had it: on a busy host this process takes a second to begin to
 *   watch, and an engine that was killed by then would leave another parent in its place
 */
export function abortWhenEngineIsGone(
  controller: AbortController,
  underway: { readonly count: number },
  engine = Number(process.env[engineVariable] ?? process.ppid),
): void {
  const timer = setInterval(() => {
    if (process.ppid === engine) return;
    clearInterval(timer);
    controller.abort(new Error("the engine that started this update is gone"));
    const end = Date.now() + graceMs;
    setInterval(() => {
      if (underway.count === 0 || Date.now() >= end) process.exit(1);
    }, intervalMs);
  }, intervalMs);
  timer.unref();
}
