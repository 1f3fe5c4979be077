/**
 * A signal that is aborted with the other one, or after so many milliseconds with a `TimeoutError` that says how long it was.
 *
 * Node 20 collects an `AbortSignal.timeout` that only `AbortSignal.any` knows, and what waits for it waits for ever.
 */
export function within(milliseconds: number, signal?: AbortSignal): AbortSignal {
  const over = new AbortController();
  const reason = new DOMException(`no answer within ${milliseconds / 1000} s`, "TimeoutError");
  setTimeout(() => over.abort(reason), milliseconds).unref();
  return signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
}
