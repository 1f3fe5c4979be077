import timers from "node:timers/promises";
import { alive, FakeProcess } from "./process";

interface Timer {
  at: number;
  order: number;
  /** One that nobody waits for does not make the time pass. */
  weak: boolean;
  run: () => void;
}

/** Enough turns of the event loop for everything that needs no time. */
const quietTurns = 3;

/**
 * Time that passes only when everything else waits for it. In its place are `Date`, `setTimeout` of
 * node:timers/promises, and `AbortSignal.timeout`. It does not prove anything about how long things take.
 */
export class FakeClock {
  now = Date.parse("2026-01-31T12:00:00.000Z");
  private readonly queue: Timer[] = [];
  private order = 0;
  private activity = 0;
  private readonly uses: Array<() => void> = [];

  /** Calls `run` after `ms`; gives a function that prevents it. */
  after(ms: number, run: () => void, weak = false): () => void {
    const timer: Timer = { at: this.now + Math.max(0, ms), order: this.order++, weak, run };
    this.activity += 1;
    let index = this.queue.length;
    while (index > 0 && this.queue[index - 1]!.at > timer.at) index -= 1;
    this.queue.splice(index, 0, timer);
    return () => {
      const found = this.queue.indexOf(timer);
      if (found >= 0) this.queue.splice(found, 1);
    };
  }

  async sleep<T>(ms: number, value?: T, options: { signal?: AbortSignal } = {}): Promise<T> {
    await alive();
    const { signal } = options;
    const caller = FakeProcess.current;
    return new Promise<T>((resolve, reject) => {
      const give = () => reject(Object.assign(new Error("The operation was aborted"), { name: "AbortError" }));
      if (signal?.aborted) return give();
      const abort = () => {
        prevent();
        if (caller?.alive !== false) give();
      };
      const prevent = this.after(ms, () => {
        signal?.removeEventListener("abort", abort);
        if (caller?.alive !== false) resolve(value as T);
      });
      caller?.onEnd(prevent);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /**
   * Lets the time pass until `work` is done; rejects when everything waits for something that never comes, and when it
   * takes longer than `mostMs`.
   */
  async run<T>(work: Promise<T>, mostMs = Number.POSITIVE_INFINITY): Promise<T> {
    const end = this.now + mostMs;
    let done = false;
    const over = () => {
      done = true;
    };
    work.then(over, over);
    for (;;) {
      await this.quiet(() => done);
      if (done) return work;
      if (!this.advance()) throw new Error("everything waits, and for nothing that time brings");
      if (this.now > end) throw new Error(`not done after ${mostMs / 1000} s`);
    }
  }

  /** Lets this much time pass. */
  async pass(ms: number): Promise<void> {
    await this.run(new Promise<void>((resolve) => this.after(ms, resolve)));
  }

  private async quiet(done: () => boolean): Promise<void> {
    for (let turns = 0, seen = -1; turns < quietTurns && !done(); ) {
      turns = seen === this.activity ? turns + 1 : 0;
      seen = this.activity;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private advance(): boolean {
    if (!this.queue.some(({ weak }) => !weak)) return false;
    const timer = this.queue.shift()!;
    this.now = timer.at;
    this.activity += 1;
    timer.run();
    return true;
  }

  install(): void {
    const clock = this;
    const RealDate = globalThis.Date;
    const ClockDate = class extends RealDate {
      constructor(...given: []) {
        if (given.length === 0) super(clock.now);
        else super(...given);
      }
      static override now(): number {
        return clock.now;
      }
    };
    this.put(globalThis, "Date", ClockDate as unknown as DateConstructor);
    this.put(timers, "setTimeout", ((ms: number, value?: unknown, options?: { signal?: AbortSignal }) =>
      clock.sleep(ms, value, options)) as typeof timers.setTimeout);
    this.put(AbortSignal, "timeout", (ms: number) => {
      const controller = new AbortController();
      clock.after(ms, () => controller.abort(new DOMException("timed out", "TimeoutError")), true);
      return controller.signal;
    });
  }

  uninstall(): void {
    for (const undo of this.uses.splice(0).reverse()) undo();
  }

  private put<T extends object, K extends keyof T>(object: T, key: K, value: T[K]): void {
    const before = object[key];
    object[key] = value;
    this.uses.push(() => {
      object[key] = before;
    });
  }
}
