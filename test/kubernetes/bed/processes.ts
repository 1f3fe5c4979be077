import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { identify } from "../../../provider/local/process";

/** Lines of a program's log that an error shows. */
const SHOWN_LINES = 15;
const POLL_MS = 10;
/** The kernel needs a moment to take a large process down. */
const END_MS = 5000;

interface Started {
  name: string;
  child: ChildProcess;
  /** How it ended; undefined while it runs. */
  end: string | undefined;
  ended: Promise<void>;
}

/**
 * The programs of a bed, by the children that were started: nothing is ever looked up by name. The kernel ends them when
 * this process ends in any way, a SIGKILL too.
 */
export class Processes {
  private readonly started: Started[] = [];
  private stopping = false;

  /** @param logs folder for a log of each program, NAME.log */
  constructor(private readonly logs: string) {}

  /**
   * Starts a program; it has no terminal, and a Ctrl-C does not reach it.
   *
   * @param enter words before the program: what it has to be started in
   * @param ipc whether it gets a channel for messages
   */
  start(name: string, enter: readonly string[], command: readonly string[], ipc = false): ChildProcess {
    const log = openSync(this.logOf(name), "a", 0o600);
    const stdio: StdioOptions = ["ignore", log, log, ...(ipc ? (["ipc"] as const) : [])];
    // The last word before the program: entering a namespace of users would take the kernel's promise back.
    const [first, ...words] = [...enter, "setpriv", "--pdeathsig", "KILL", ...command];
    try {
      const child = spawn(first!, words, { stdio, detached: true });
      const entry: Started = { name, child, end: undefined, ended: Promise.resolve() };
      entry.ended = new Promise((resolve) => {
        const finish = (end: string) => {
          entry.end ??= end;
          resolve();
        };
        child.once("error", (error) => finish(`could not be started: ${error.message}`));
        child.once("exit", (code, signal) => {
          finish(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
        });
      });
      this.started.push(entry);
      return child;
    } finally {
      closeSync(log);
    }
  }

  /** Runs a program to its end; throws with the end of its log when it fails. */
  async run(name: string, enter: readonly string[], command: readonly string[]): Promise<void> {
    const child = this.start(name, enter, command);
    const index = this.started.findIndex((each) => each.child === child);
    await this.started[index]!.ended;
    if (child.exitCode !== 0) this.assertRunning();
    this.started.splice(index, 1);
  }

  /** Pids of those that run. */
  pids(): number[] {
    return this.running().map(({ child }) => child.pid!);
  }

  /** @throws an error with the end of the log of a program that ended by itself */
  assertRunning(): void {
    const lost = this.started.find(({ end }) => end !== undefined);
    if (lost === undefined || this.stopping) return;
    throw new Error(`${lost.name} ${lost.end}; the end of its log:\n${this.tail(lost.name)}`);
  }

  /** Ends one program and forgets it; by SIGTERM where it has something to write down first. */
  async end(name: string, signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const index = this.started.findIndex((each) => each.name === name);
    const [entry] = index < 0 ? [] : this.started.splice(index, 1);
    if (entry === undefined) throw new Error(`${name} was not started`);
    if (entry.end === undefined) entry.child.kill(signal);
    await entry.ended;
  }

  /** Ends all of them; what they hold is thrown away with the bed, so nothing has to be written any more. */
  async stop(): Promise<void> {
    this.kill();
    await Promise.all(this.started.map(({ ended }) => ended));
  }

  /** The same at once, for a process that is about to end. */
  killAndWait(): void {
    const pids = this.pids();
    this.kill();
    const end = Date.now() + END_MS;
    while (pids.some((pid) => identify(pid) !== undefined) && Date.now() < end) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
    }
  }

  private kill(): void {
    this.stopping = true;
    for (const entry of [...this.started].reverse()) kill(entry);
  }

  /** The end of a program's log. */
  tail(name: string): string {
    try {
      return readFileSync(this.logOf(name), "utf8").trimEnd().split("\n").slice(-SHOWN_LINES).join("\n");
    } catch {
      return "(no log)";
    }
  }

  private running(): Started[] {
    return this.started.filter(({ end, child }) => end === undefined && child.pid !== undefined);
  }

  private logOf(name: string): string {
    return join(this.logs, `${name}.log`);
  }
}

function kill({ child, end }: Started): void {
  if (end === undefined) child.kill("SIGKILL");
}
