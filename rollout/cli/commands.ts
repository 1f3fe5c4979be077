import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { InvalidInput } from "../../components/problems";
import { deploy } from "../deploy";
import { UpdateFailed } from "../errors";
import { history } from "../history";
import { plan } from "../planCommand";
import { openProject, packageRoot } from "../project";
import { rollback } from "../rollback";
import type { SessionOptions } from "../session";
import { type State, states, status, wait } from "../status";
import { supervise } from "../supervise";
import { terminate } from "../terminate";
import { type VerifiedStep, verify } from "../verify";
import { outcomeLines, statusLines, stepLine } from "./lines";
import { historyLines } from "./pastLines";
import { planLines } from "./planLines";
import { type View, viewFor } from "./views";

/** Flags that every command takes. */
export interface Common {
  stack: string;
  folder?: string;
  json?: boolean;
}

interface ServiceFlags extends Common {
  file?: string;
  canaryPercent?: string;
  maxSurgePercent?: string;
  inPlace?: boolean;
  retry?: boolean;
}

const print = (lines: string[]) => process.stdout.write(lines.map((line) => `${line}\n`).join(""));
const printJson = (value: object) =>
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), ...value })}\n`);

/** Ctrl-C and a termination request end a command at its next safe point; a second one ends the process. */
function interruptible(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => controller.abort(new DOMException("interrupted", "AbortError")));
  }
  return controller.signal;
}

async function following<T>(flags: Common, run: (options: SessionOptions) => Promise<T>): Promise<T> {
  const view: View = viewFor(flags.json === true);
  try {
    return await run({ ...flags, onEvent: view.onEvent, signal: interruptible() });
  } finally {
    view.close();
  }
}

export async function deployCommand(flags: ServiceFlags): Promise<void> {
  const result = await following(flags, (options) => deploy({ ...flags, ...options }));
  if (flags.json !== true) print(outcomeLines(result, flags));
}

export async function rollbackCommand(flags: Common & { maxSurgePercent?: string }): Promise<void> {
  const result = await following(flags, (options) => rollback({ ...flags, ...options }));
  if (flags.json !== true) print(outcomeLines(result, flags));
}

export async function superviseCommand(flags: Common & { once?: boolean; intervalS: string }): Promise<void> {
  const intervalSeconds = secondsOf("--interval-s", flags.intervalS);
  const { outcome, version } = await following(flags, (options) =>
    supervise({ ...flags, ...options, intervalSeconds }),
  );
  if (flags.json === true) printJson({ event: "supervised", outcome, version });
  else print([`${version ?? "nothing is deployed"}: ${outcome}`]);
}

export async function terminateCommand(flags: Common): Promise<void> {
  const { outcome } = await following(flags, (options) => terminate({ ...flags, ...options }));
  if (flags.json !== true) print([outcome === "terminated" ? "The service is ended." : "Nothing is deployed."]);
}

export async function verifyCommand(flags: Common & { file: string }): Promise<void> {
  const onStep = (step: VerifiedStep) => {
    if (flags.json === true) printJson({ event: "verified", ...step });
    else print([stepLine(step)]);
  };
  await verify({ ...flags, onStep, signal: interruptible() });
}

const watchMs = 1000;

export async function statusCommand(flags: Common & { watch?: boolean }): Promise<void> {
  const signal = interruptible();
  let last = "";
  do {
    const now = await status({ ...flags, signal }).catch((error) => {
      if (flags.watch && signal.aborted) return undefined;
      throw error;
    });
    if (now === undefined) return;
    const text = flags.json ? JSON.stringify(now) : statusLines(now).join("\n");
    if (text !== last) {
      if (flags.json) printJson({ event: "status", ...now });
      else print([...(last === "" ? [] : [""]), text]);
    }
    last = text;
    if (flags.watch) await sleep(watchMs, undefined, { signal }).catch(() => undefined);
  } while (flags.watch && !signal.aborted);
}

export async function waitCommand(flags: Common & { state: string; timeoutS: string }): Promise<void> {
  const now = await wait({
    ...flags,
    state: stateOf(flags.state),
    timeoutSeconds: secondsOf("--timeout-s", flags.timeoutS),
    signal: interruptible(),
  });
  if (flags.json) printJson({ event: "status", ...now });
  else print(statusLines(now));
}

export async function planCommand(flags: ServiceFlags): Promise<void> {
  const planned = await plan({ ...flags, signal: interruptible() });
  if (flags.json) printJson({ event: "plan", ...planned });
  else print(planLines(planned));
}

export async function historyCommand(flags: Common & { maxItems: string }): Promise<void> {
  const rollouts = await history({ ...flags, signal: interruptible() });
  if (flags.json) for (const rollout of rollouts) printJson({ event: "pastRollout", ...rollout });
  else print(historyLines(rollouts));
}

export async function setupCommand(): Promise<void> {
  const script = join(packageRoot, "setup", "setup.mjs");
  const child = spawn(process.execPath, [script], {
    stdio: "inherit",
    env: { ...process.env, RAYSHIFT_HOME: openProject().home },
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new UpdateFailed("the set-up did not finish; what to do is said above");
}

function stateOf(text: string): State {
  const state = states.find((known) => known === text);
  if (state !== undefined) return state;
  const remedy = `give one of ${states.join(", ")}`;
  throw new InvalidInput(
    [{ path: "--state", value: text, rule: "is not a state of a service", remedy }],
    "command line",
  );
}

function secondsOf(path: string, text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  const rule = "must be a number of seconds above 0";
  throw new InvalidInput([{ path, value: text, rule, remedy: "give for example 600" }], "command line");
}
