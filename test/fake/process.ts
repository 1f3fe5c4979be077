import { AsyncLocalStorage } from "node:async_hooks";
import type { ProcessIdentity } from "../../provider/local/process";

const current = new AsyncLocalStorage<FakeProcess>();
const all = new Map<number, FakeProcess>();
/** Above every pid that Linux gives. */
let next = 5_000_000;

/**
 * A process of the simulation: everything that is called within {@link run} belongs to it. A killed one goes no further
 * than its next use of a fake: there it waits for ever, as a process does that does not exist any more.
 */
export class FakeProcess {
  readonly pid = next++;
  /** The process that started it. */
  readonly parent = current.getStore();
  private running = true;
  private readonly ends: Array<() => void> = [];

  constructor(readonly name: string) {
    all.set(this.pid, this);
  }

  get alive(): boolean {
    return this.running;
  }

  get identity(): ProcessIdentity {
    return { pid: this.pid, startTime: "fake" };
  }

  run<T>(work: () => T): T {
    return current.run(this, work);
  }

  /** Like SIGKILL; also what a process does that is done. */
  end(): void {
    if (!this.running) return;
    this.running = false;
    all.delete(this.pid);
    for (const tell of this.ends.splice(0)) tell();
  }

  onEnd(tell: () => void): void {
    if (this.running) this.ends.push(tell);
    else tell();
  }

  /** Told by signals other than SIGKILL. */
  interrupt: () => void = () => this.end();

  static get current(): FakeProcess | undefined {
    return current.getStore();
  }

  static of(pid: number): FakeProcess | undefined {
    return all.get(pid);
  }

  /** Ends what a schedule left. */
  static endAll(): void {
    for (const process of [...all.values()]) process.end();
  }
}

/** Resolves while the process that calls it is alive, and never in one that was killed. */
export async function alive(): Promise<void> {
  if (current.getStore()?.alive === false) await new Promise<never>(() => {});
}
