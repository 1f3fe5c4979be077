import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { runForeground } from "./child.mjs";

/** How long mocha may stay alive after the last test: whatever keeps it is something a test left open. */
const leakGraceSeconds = 30;

/** Tests of updates of a stack: each file takes minutes and is a run for itself, others are one by folder. */
const ofUpdates = ["behaviour", "chaos", "clouds"];
/** Runs of mocha at a time: enough that the processors do not wait, few enough for the tests' time limits. */
const atOnce = 3;
/** Tests that first build what they run against, for many minutes: only when they are asked for. */
const askedFor = ["kubernetes"];
/** Of those the ones that take a host's root, a long time and the host for themselves: not among the others of the folder. */
const apart = "test/kubernetes/full";
/** Tests that measure a service under load: they have the host for themselves. */
const alone = ["e2e"];

/** The last line of a test run. */
export function testSummary(passed, failed) {
  return `${passed} passed, ${failed} failed`;
}

/**
 * Runs the linter and the tests, or only the tests named, and prints the summary as the last line.
 * The linter counts as one check.
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 * @param {string[]} args test files or folders (sources or compiled), and options for mocha
 * @returns {Promise<number>} the exit code
 */
export async function runTests(root, env, args) {
  const { files, options } = splitArguments(root, args);
  const all = files.length === 0;
  const results = all ? [await runLinter(root, env)] : [];
  for (const stage of all ? stagesOf(testFiles(root)) : [[files]]) {
    results.push(...(await runStage(root, env, stage, options)));
  }
  const [passed, failed] = ["passed", "failed"].map((key) => results.reduce((sum, each) => sum + each[key], 0));
  process.stdout.write(`${testSummary(passed, failed)}\n`);
  return failed === 0 ? 0 : 1;
}

/**
 * What a whole run consists of: one stage after the other, the runs of a stage beside each other, begun in this order.
 * @param {string[]} files compiled tests, as paths relative to the project
 * @returns {string[][][]} stages of runs of files, none of them empty
 */
export function stagesOf(files) {
  const folderOf = (file) => dirname(file).split("/")[2];
  const below = (folder) => files.filter((file) => folderOf(file) === folder);
  const special = [...ofUpdates, ...alone, ...askedFor];
  const others = [...new Set(files.map(folderOf))].filter((folder) => !special.includes(folder));
  const beside = [...others.map(below), ...ofUpdates.flatMap(below).map((file) => [file])];
  const atLast = alone.map(below).filter((run) => run.length > 0);
  return [beside, ...atLast.map((run) => [run])].filter((runs) => runs.length > 0);
}

function testFiles(root) {
  return readdirSync(join(root, "dist", "test"), { recursive: true })
    .filter((file) => file.endsWith(".test.js"))
    .map((file) => `dist/test/${file}`)
    .sort();
}

/** Sorts arguments into compiled test files, as patterns relative to `root`, and mocha's options. */
export function splitArguments(root, args) {
  const files = [];
  const options = [];
  for (const arg of args) {
    const path = relative(root, resolve(root, arg)).replace(/^dist\//, "");
    if (arg.startsWith("-") || !/^test\//.test(path)) options.push(arg);
    else if (/\.test\.(ts|js)$/.test(path)) files.push(`dist/${path.replace(/\.ts$/, ".js")}`);
    else {
      files.push(`dist/${path}/**/*.test.js`);
      if (apart.startsWith(`${path}/`)) options.push("--ignore", `dist/${apart}/**`);
    }
  }
  return { files, options };
}

async function runLinter(root, env) {
  const biome = createRequire(join(root, "package.json")).resolve("@biomejs/biome/bin/biome");
  const code = await runForeground(process.execPath, [biome, "check", "."], { cwd: root, env });
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

/** One run reports as it goes, each of several when it has ended. */
async function runStage(root, env, runs, options) {
  if (runs.length === 1) return [await runMocha(root, env, runs[0], options, "inherit")];
  const folder = mkdtempSync(join(tmpdir(), "rayshift-runs-"));
  const results = [];
  const queue = [...runs.entries()];
  const takeTurns = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, files] = next;
      const file = join(folder, `${index}.txt`);
      const output = openSync(file, "w");
      results.push(await runMocha(root, env, files, options, output).finally(() => closeSync(output)));
      process.stdout.write(readFileSync(file));
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, takeTurns));
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runMocha(root, env, files, options, output) {
  const mocha = createRequire(join(root, "package.json")).resolve("mocha/bin/mocha.js");
  const folder = mkdtempSync(join(tmpdir(), "rayshift-test-"));
  const countsFile = join(folder, "counts.json");
  const reporter = join(root, "setup", "countingReporter.cjs");
  const own = ["--recursive", "--timeout", "60000", "--reporter", reporter];
  let leaked = false;
  try {
    const code = await runForeground(process.execPath, [mocha, ...own, ...options, ...files], {
      cwd: root,
      env: { ...env, RAYSHIFT_TEST_COUNTS: countsFile },
      output,
      watch: (end) => {
        let endedAt;
        return setInterval(() => {
          if (endedAt === undefined && existsSync(countsFile)) endedAt = Date.now();
          if (endedAt === undefined || Date.now() - endedAt < leakGraceSeconds * 1000) return;
          leaked = true;
          end();
        }, 500);
      },
    });
    const counts = existsSync(countsFile) ? JSON.parse(readFileSync(countsFile, "utf8")) : undefined;
    if (counts === undefined) {
      process.stderr.write(`mocha ended with exit code ${code} before its tests did\n`);
      return { passed: 0, failed: 1 };
    }
    if (leaked) {
      process.stderr.write(
        `mocha was still alive ${leakGraceSeconds} s after the last test: a test left something open\n`,
      );
    }
    return {
      passed: counts.passes,
      failed: counts.failures + (leaked || (code !== 0 && counts.failures === 0) ? 1 : 0),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
