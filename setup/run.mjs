#!/usr/bin/env node
// node setup/run.mjs start|test|bench|chaos|pulumi|rayshift ARGS...: sets up what is missing, then runs one of the project's programs.
import { join } from "node:path";
import { runForeground } from "./child.mjs";
import { describeFailure, exitCodeOf } from "./progress.mjs";
import { setUp } from "./steps.mjs";
import { runTests, testSummary } from "./testRun.mjs";

const node =
  (...file) =>
  (root) => [process.execPath, join(root, ...file)];

/** Each: the program and its first arguments, and whether it runs in the project's folder or where the user is. */
const programs = {
  start: { command: node("dist", "rollout", "demo", "main.js"), inProject: true },
  bench: { command: node("dist", "test", "bench", "main.js"), inProject: true },
  chaos: { command: node("dist", "test", "chaos", "main.js"), inProject: true },
  pulumi: { command: () => ["pulumi"], inProject: true },
  rayshift: { command: node("dist", "rollout", "cli", "main.js"), inProject: false },
};

/** @returns {Promise<number>} the exit code */
async function run(name, args) {
  if (name !== "test" && !Object.hasOwn(programs, name ?? "")) {
    process.stderr.write(`usage: node setup/run.mjs ${["test", ...Object.keys(programs)].join("|")} ARGS...\n`);
    return 2;
  }
  let ready;
  try {
    // Standard output belongs to the program alone: it may be JSON for a machine.
    ready = await setUp({ env: process.env, quiet: true, stream: process.stderr, tests: name === "test" });
  } catch (error) {
    process.stderr.write(`${describeFailure(error)}\n`);
    if (name === "test") process.stdout.write(`${testSummary(0, 1)}\n`);
    return exitCodeOf(error);
  }
  const { root, env } = ready;
  if (name === "test") return await runTests(root, env, args);
  const { command, inProject } = programs[name];
  const [program, ...first] = command(root);
  return await runForeground(program, [...first, ...args], { cwd: inProject ? root : process.cwd(), env });
}

const [name, ...args] = process.argv.slice(2);
process.exitCode = await run(name, args);
