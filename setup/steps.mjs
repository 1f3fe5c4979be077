import { existsSync } from "node:fs";
import { join } from "node:path";
import { build } from "./build.mjs";
import { checkNode } from "./checks.mjs";
import { interruptible } from "./child.mjs";
import { cloudPackages } from "./cloudPackages.mjs";
import { environmentOf, homeFolder, makeHome, packageRoot, writeToolchain } from "./environment.mjs";
import { lockSetup } from "./lock.mjs";
import { nodePackages } from "./nodePackages.mjs";
import { Progress } from "./progress.mjs";
import { pulumiCli } from "./pulumiCli.mjs";
import { pythonPackages } from "./pythonPackages.mjs";

/**
 * A step of set-up.
 * @typedef {object} Step
 * @property {string} title
 * @property {string} expected what it is about to do and how long that may take
 * @property {(context: object) => Promise<Result | undefined>} inPlace what is there already; undefined when the step must be performed
 * @property {(context: object) => Promise<void>} [prepare] throws when `perform` cannot succeed, before anything is changed
 * @property {(context: object, note: (text: string) => void) => Promise<Result>} perform
 * @typedef {{detail: string, toolchain?: Partial<import("./environment.mjs").Toolchain>}} Result
 */

/** What needs the Node packages, and nothing of each other. @type {Step[]} */
const forPrograms = [pulumiCli, pythonPackages];
/** What only tests need comes when they are run. */
const forTests = [...forPrograms, cloudPackages];

/**
 * Brings everything the project needs into place, reusing what is there.
 * @param {{env: NodeJS.ProcessEnv, quiet: boolean, stream: NodeJS.WriteStream, tests?: boolean}} options `quiet`: one line when all is reused
 * @returns {Promise<{root: string, env: NodeJS.ProcessEnv}>} the environment to run the project's programs in
 * @throws {import("./progress.mjs").SetupError} or an AggregateError of several
 */
export async function setUp({ env, quiet, stream, tests = false }) {
  const others = tests ? forTests : forPrograms;
  const progress = new Progress({ stream, quiet });
  checkNode(process.versions.node);
  const root = packageRoot;
  const home = homeFolder(root, env, (folder) => existsSync(join(folder, "package.json")));
  const context = { root, home, env, platform: process.platform };
  const stopListening = interruptible();
  try {
    const missing = [];
    for (const step of [nodePackages, ...others, build])
      if ((await step.inPlace(context)) === undefined) missing.push(step);
    for (const step of missing) await step.prepare?.(context);
    makeHome(home, env);
    const unlock = missing.length === 0 ? () => {} : await lock(home, progress);
    try {
      const first = await complete(nodePackages, context, progress);
      const results = [first, ...(await allOf(others.map((step) => complete(step, context, progress))))];
      const toolchain = Object.assign({}, ...results.map((result) => result.toolchain));
      // Written before the build: the tools are of use to whoever mends a source that does not compile.
      writeToolchain(home, toolchain);
      await complete(build, context, progress);
      progress.finish(missing.length > 0 ? "set-up is complete" : "set-up: everything is in place");
      return { root, env: environmentOf(home, toolchain, env) };
    } finally {
      unlock();
    }
  } finally {
    stopListening();
  }
}

/** Waits for the end of each, also when one fails: what the others have brought into place is there for the next run. */
async function allOf(works) {
  const ends = await Promise.allSettled(works);
  const failures = ends.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  if (failures.length > 1) throw new AggregateError(failures);
  if (failures.length === 1) throw failures[0];
  return ends.map(({ value }) => value);
}

async function lock(home, progress) {
  return await lockSetup(home, (owner) =>
    progress.line(`another set-up of this project (process ${owner}) is at work: waiting for it`),
  );
}

/** Asks again what is there: the set-up that held the lock may have done it, and new Node packages make an old build stale. */
async function complete(step, context, progress) {
  let result = await step.inPlace(context);
  if (result !== undefined) {
    progress.reused(step.title, result.detail);
    return result;
  }
  await progress.during(step.title, step.expected, async (note) => {
    result = await step.perform(context, note);
    return result.detail;
  });
  return result;
}
