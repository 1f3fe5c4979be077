import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { SetupError } from "./progress.mjs";

/** Lines of a failed helper that are shown from the beginning and from the end: npm and tsc say the cause first, Go and pip last. */
const shownLines = 12;

/** Helpers of set-up that are running, to be ended with it. Each leads a process group of its own. */
const running = new Set();
/** What must not be left behind when set-up is interrupted. */
const cleanups = new Set();

/** Registers a clean-up for an interrupted set-up; returns the function that takes it back. */
export function onInterrupt(cleanup) {
  cleanups.add(cleanup);
  return () => cleanups.delete(cleanup);
}

/** From now until the returned function is called, SIGINT, SIGTERM and SIGHUP end set-up with its helpers and leave nothing half-made. */
export function interruptible() {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  const end = (signal) => {
    for (const pid of running) signalGroup(pid, "SIGKILL");
    for (const cleanup of cleanups) cleanup();
    process.stderr.write("\nset-up was interrupted; the next run goes on from here\n");
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of signals) process.on(signal, end);
  return () => {
    for (const signal of signals) process.off(signal, end);
  };
}

/**
 * Runs a helper of set-up to its end and gives its standard output.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, timeoutSeconds?: number, remedy: string}} options `remedy` is for the error of a failure
 * @returns {Promise<string>}
 */
export async function runHelper(command, args, { cwd, env = process.env, timeoutSeconds, remedy }) {
  const result = await new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    if (child.pid !== undefined) running.add(child.pid);
    let stdout = "";
    let output = "";
    const keep = (text) => {
      output += text;
    };
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      keep(text);
    });
    child.stderr.setEncoding("utf8").on("data", keep);
    let timedOut = false;
    const timer =
      timeoutSeconds === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
          }, timeoutSeconds * 1000);
    const finish = (cause) => {
      clearTimeout(timer);
      if (child.pid !== undefined) running.delete(child.pid);
      resolve({ stdout, output, cause: timedOut ? `did not end within ${timeoutSeconds} s` : cause });
    };
    child.on("error", (error) => finish(error.message));
    child.on("close", (code, signal) => {
      if (code === 0) finish(undefined);
      else finish(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
    });
  });
  if (result.cause === undefined) return result.stdout;
  const name = [command, ...args.slice(0, 2)].join(" ");
  throw new SetupError(`\`${name}\` ${result.cause}`, { remedy, output: shorten(result.output) });
}

/**
 * Runs a program in the foreground, with our terminal and our standard streams, hands signals on and waits for its end. With
 * `output` (an open file) what it writes goes there.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env: NodeJS.ProcessEnv, watch?: (end: () => void) => NodeJS.Timeout, output?: "inherit" | number}} options `watch` gets a function that ends the program
 * @returns {Promise<number>} the exit code, 128 + number for a signal
 */
export async function runForeground(command, args, { cwd, env, watch, output = "inherit" }) {
  const child = spawn(command, args, { cwd, env, stdio: ["inherit", output, output] });
  const forward = (signal) => {
    // A Ctrl-C reaches every process in the terminal's foreground: the child has it already, and a second one would mean "now, at once" to it.
    if (signal === "SIGINT" && inForeground()) return;
    child.kill(signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, forward);
  const watching = watch?.(() => child.kill("SIGKILL"));
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
    });
  } finally {
    clearInterval(watching);
    for (const signal of signals) process.off(signal, forward);
  }
}

/** Whether the process whose /proc/PID/stat is given belongs to the foreground of its terminal. */
export function isForeground(stat) {
  // The name in brackets may hold spaces and brackets; after it come state, ppid, pgrp, session, tty, tpgid.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[2] === fields[5];
}

function inForeground() {
  try {
    return isForeground(readFileSync("/proc/self/stat", "utf8"));
  } catch {
    return process.stdin.isTTY === true;
  }
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // It ended in the meantime.
  }
}

/** The beginning and the end of a long text. */
export function shorten(text) {
  const lines = text.trimEnd().split("\n");
  if (lines.length <= 2 * shownLines) return lines.join("\n");
  return [...lines.slice(0, shownLines), "...", ...lines.slice(-shownLines)].join("\n");
}
