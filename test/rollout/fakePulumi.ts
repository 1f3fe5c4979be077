import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openProject, type Project } from "../../rollout/project";

/** One answer of the CLI. */
export interface Answer {
  code?: number;
  stdout?: string;
  stderr?: string;
  /** Written to the event log that the arguments name. */
  events?: object[];
  /** Kills itself. */
  killed?: boolean;
  /** Answers only when it is interrupted. */
  untilInterrupted?: boolean;
}

/** One run of the CLI. */
export interface Call {
  args: string[];
  input: string;
  environment: Record<string, string>;
  pid: number;
  processGroup: number;
}

/**
 * A `pulumi` that answers as arranged, in words that the real one (3.246) was seen to use; kept in a project folder of its
 * own. It proves what is made of these answers. It does not prove that the CLI still gives them, that it takes these
 * flags, or that it locks: the end-to-end test runs the real one.
 */
export class FakePulumi {
  readonly folder = mkdtempSync(join(tmpdir(), "rayshift-cli-"));
  readonly environment: NodeJS.ProcessEnv;

  /** @param answers by the command's first words; the last one is given again and again */
  constructor(answers: Record<string, Answer[]>) {
    writeFileSync(join(this.folder, "Pulumi.yaml"), "name: rayshift\nruntime: nodejs\n");
    const bin = join(this.folder, "bin");
    for (const name of ["bin", "calls", "signals"]) mkdirSync(join(this.folder, name));
    writeFileSync(join(bin, "answers.json"), JSON.stringify(answers));
    writeFileSync(join(bin, "pulumi"), `#!${process.execPath}\n${program}`);
    chmodSync(join(bin, "pulumi"), 0o700);
    const { RAYSHIFT_HOME: _home, ...own } = process.env;
    this.environment = { ...own, PATH: `${bin}${delimiter}${own.PATH}` };
  }

  get project(): Project {
    return { ...openProject({ folder: this.folder }), home: join(this.folder, ".rayshift") };
  }

  calls(): Call[] {
    const folder = join(this.folder, "calls");
    return readdirSync(folder)
      .sort()
      .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as Call);
  }

  /** The commands that were run, by their first words. */
  commands(): string[] {
    return this.calls().map(({ args }) => (args[0] === "stack" ? args.slice(0, 2).join(" ") : args[0]!));
  }

  signals(): string[] {
    return readdirSync(join(this.folder, "signals"));
  }

  /** Resolves when a run waits to be interrupted. */
  async waits(): Promise<void> {
    while (!existsSync(join(this.folder, "waits"))) await sleep(20);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

const program = `
const { readFileSync, writeFileSync, readdirSync, renameSync } = require("node:fs");
const { join } = require("node:path");
const root = join(__dirname, "..");
let signals = 0;
const args = process.argv.slice(2);
const key = args[0] === "stack" ? args.slice(0, 2).join(" ") : args[0];
const all = JSON.parse(readFileSync(join(__dirname, "answers.json"), "utf8"))[key] ?? [{}];
const calls = readdirSync(join(root, "calls")).sort();
const before = calls.filter((name) => name.endsWith(" " + key)).length;
const answer = all[Math.min(before, all.length - 1)];
process.on("SIGINT", () => {
  writeFileSync(join(root, "signals", "SIGINT-" + signals++), "");
  if (answer.untilInterrupted && signals === 1) setTimeout(finish, 300);
});
const call = {
  args,
  input: readFileSync(0, "utf8"),
  environment: process.env,
  pid: process.pid,
  processGroup: Number(readFileSync("/proc/self/stat", "utf8").split(") ")[1].split(" ")[2]),
};
writeFileSync(join(root, "calls", String(calls.length).padStart(3, "0") + " " + key), JSON.stringify(call));
const log = args.indexOf("--event-log");
if (log !== -1) writeFileSync(args[log + 1], (answer.events ?? []).map((event) => JSON.stringify(event) + "\\n").join(""));
if (answer.killed) process.kill(process.pid, "SIGKILL");
let waiting;
if (answer.untilInterrupted) {
  waiting = setInterval(() => {}, 1000);
  writeFileSync(join(root, "waits"), "");
} else finish();
function finish() {
  clearInterval(waiting);
  process.stdout.write(answer.stdout ?? "");
  process.stderr.write(answer.stderr ?? "");
  process.exitCode = answer.code ?? 0;
}
`;

export const noStack: Answer = { code: 6, stderr: "error: no stack named 'dev' found\n" };

export const wrongPassphrase: Answer = {
  code: 1,
  stderr: "error: getting stack configuration: get stack secrets manager: incorrect passphrase\n",
};

/** The stack's lock as the backend in a folder describes it. */
export function lockedBy(pid: number, host = hostname()): Answer {
  return {
    code: 1,
    stderr:
      "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock " +
      "file with `pulumi cancel`.\n" +
      `  file:///state/.pulumi/locks/organization/rayshift/dev/11111111.json?no_tmp_dir=true: created by ada@${host} (pid ${pid}) at 2026-01-31T12:00:00Z\n`,
  };
}

export function diagnostic(message: string, severity = "error"): object {
  return { diagnosticEvent: { prefix: `${severity}: `, message, color: "never", severity } };
}
