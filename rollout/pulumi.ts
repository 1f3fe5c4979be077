import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as sleep } from "node:timers/promises";
import { projectVariable } from "../components/nearestProject";
import { effect } from "../provider/effects";
import { identify } from "../provider/local/process";
import { removeEmptyAttributes } from "./emptyAttributes";
import { Refused, UpdateFailed } from "./errors";
import { claimedBy } from "./orphans";
import type { Project } from "./project";

/** The code of a run that a signal ended. */
export const killed = -1;

/** What a run of the CLI gave. */
export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** One event of an update, as the engine writes it to its event log; only what the driver reads is typed. */
export interface EngineEvent {
  diagnosticEvent?: { urn?: string; message: string; severity: string; ephemeral?: boolean };
  resOpFailedEvent?: { metadata: { urn: string; op: string } };
  resourcePreEvent?: { metadata: { urn: string; op: string } };
  resOutputsEvent?: {
    metadata: { urn: string; op: string; type: string; new?: { outputs?: Record<string, unknown> } };
  };
}

/** How long a cancelled update may take to end before it is told a second time, which ends it at once. */
const cancelPatienceMs = 20_000;
const eventPollMs = 100;

/**
 * Runs the Pulumi CLI for one stack. The CLI itself and not the Automation API's `Stack`: that starts two more
 * processes after every update (docs/performance.md has the ratio). The CLI gets a process group of its own, so that a
 * Ctrl-C on the terminal reaches it once, from here.
 */
export class PulumiCli {
  constructor(
    readonly project: Project,
    private readonly environment: NodeJS.ProcessEnv,
  ) {}

  async run(args: readonly string[], signal?: AbortSignal, input = ""): Promise<CliResult> {
    const result = await this.runOnce(args, signal, input);
    const unreadable = result.code !== 0 && /\bEOF\b/.test(result.stderr + result.stdout);
    if (!unreadable || !removeEmptyAttributes(this.project, this.environment)) return result;
    return this.runOnce(args, signal, input);
  }

  private async runOnce(args: readonly string[], signal?: AbortSignal, input = ""): Promise<CliResult> {
    signal?.throwIfAborted();
    const all = [...args, "--stack", this.project.stack, "--non-interactive", "--color", "never"];
    const child = spawn("pulumi", all, {
      cwd: this.project.folder,
      // Debug commands: the event log's flag is one of them.
      env: {
        ...this.environment,
        RAYSHIFT_HOME: this.project.home,
        [projectVariable]: this.project.folder,
        PULUMI_DEBUG_COMMANDS: "true",
        ...claimedBy(process.pid),
      },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin.on("error", () => {}).end(input);
    const output = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
    const interrupt = () => child.kill("SIGINT");
    let insist: NodeJS.Timeout | undefined;
    const cancel = () => {
      interrupt();
      insist = setTimeout(interrupt, cancelPatienceMs);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const code = await new Promise<number>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (exitCode) => resolve(exitCode ?? killed));
      });
      return { code, ...output };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      throw cliMissing();
    } finally {
      signal?.removeEventListener("abort", cancel);
      clearTimeout(insist);
    }
  }

  /** Like {@link run}, and calls `onEvent` with the engine's events while they happen. */
  async runWithEvents(
    args: readonly string[],
    onEvent: (event: EngineEvent) => void,
    signal?: AbortSignal,
  ): Promise<CliResult> {
    const folder = join(this.project.home, "run");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    removeDeadLogs(folder);
    const log = join(folder, `events-${process.pid}-${Date.now()}.jsonl`);
    const follower = new EventFollower(log, onEvent);
    const finished = new AbortController();
    const following = follower.follow(finished.signal);
    try {
      return await effect(`pulumi ${args[0]}`, "", () => this.run([...args, "--event-log", log], signal));
    } finally {
      finished.abort();
      await following;
      rmSync(log, { force: true });
    }
  }

  /** The JSON that a command prints; throws {@link UpdateFailed} with the CLI's own words when it fails. */
  async json(args: readonly string[], signal?: AbortSignal): Promise<unknown> {
    const result = await this.run(args, signal);
    signal?.throwIfAborted();
    if (result.code !== 0) throw failureOf(`pulumi ${args[0]}`, result);
    return JSON.parse(result.stdout);
  }

  /** Replaces the stack's state, which takes the stack's lock. */
  async importState(state: object, signal?: AbortSignal): Promise<CliResult> {
    const run = () => this.run(["stack", "import"], signal, JSON.stringify(state));
    const result = await effect("pulumi stack import", "", run);
    if (result.code !== 0 && !isLocked(result)) throw failureOf("pulumi stack import", result);
    return result;
  }
}

/** Event logs of commands that were killed. */
function removeDeadLogs(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = /^events-(\d+)-\d+\.jsonl$/.exec(name)?.[1];
    if (pid !== undefined && identify(Number(pid)) === undefined) rmSync(join(folder, name), { force: true });
  }
}

export const cliMissing = () =>
  new Refused("the Pulumi CLI was not found: run `npx rayshift setup` (or `npm run setup` in a clone)");

export const isLocked = ({ stderr, stdout }: CliResult) => /currently locked by/.test(stderr + stdout);

/** What a failed run means, told apart by the CLI's words: it has no structured cause. */
export function failureOf(what: string, { stdout, stderr }: CliResult): Error {
  const said = `${stderr}\n${stdout}`.trim();
  if (/incorrect passphrase|passphrase must be set/.test(said)) {
    return new Refused(
      "the passphrase does not open this stack's secrets. Set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE " +
        "to the one that the stack was made with. Nothing was changed.",
    );
  }
  return new UpdateFailed(`${what} failed: ${said.replace(/^error: /, "")}`);
}

/** Reads a growing file of JSON lines. */
class EventFollower {
  private offset = 0;
  private rest = "";
  /** Keeps the first bytes of a character whose others are yet to be read. */
  private readonly decoder = new StringDecoder("utf8");

  constructor(
    private readonly file: string,
    private readonly onEvent: (event: EngineEvent) => void,
  ) {}

  async follow(finished: AbortSignal): Promise<void> {
    while (!finished.aborted) {
      await sleep(eventPollMs, undefined, { signal: finished }).catch(() => undefined);
      this.readOn();
    }
  }

  private readOn(): void {
    if (!existsSync(this.file)) return;
    const descriptor = openSync(this.file, "r");
    try {
      const buffer = Buffer.alloc(1 << 16);
      let read: number;
      do {
        read = readSync(descriptor, buffer, 0, buffer.length, this.offset);
        this.offset += read;
        this.rest += this.decoder.write(buffer.subarray(0, read));
      } while (read > 0);
    } finally {
      closeSync(descriptor);
    }
    const lines = this.rest.split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") this.onEvent(JSON.parse(line) as EngineEvent);
  }
}
