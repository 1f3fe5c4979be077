/**
 * Aborts when the process that started this one is gone: a killed engine leaves its plugins alive, and what they would
 * still do could meet the next command's effects. Operations see the signal before their next effect; the process ends
 * `graceMs` later whatever they do.
 */
export function abortWhenEngineIsGone(controller: AbortController, graceMs = 1_000, intervalMs = 100): void {
  const engine = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === engine) return;
    clearInterval(timer);
    controller.abort(new Error("the engine that started this update is gone"));
    setTimeout(() => process.exit(1), graceMs);
  }, intervalMs);
  timer.unref();
}
