import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { runForeground } from "./child.mjs";

/** How long mocha may stay alive after the last test: whatever keeps it is something a test left open. */
const leakGraceSeconds = 30;

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
  const lint = files.length === 0 ? await runLinter(root, env) : { passed: 0, failed: 0 };
  const tests = await runMocha(root, env, files.length === 0 ? ["dist/test/**/*.test.js"] : files, options);
  const failed = lint.failed + tests.failed;
  process.stdout.write(`${testSummary(lint.passed + tests.passed, failed)}\n`);
  return failed === 0 ? 0 : 1;
}

/** Sorts arguments into compiled test files, as patterns relative to `root`, and mocha's options. */
export function splitArguments(root, args) {
  const files = [];
  const options = [];
  for (const arg of args) {
    const path = relative(root, resolve(root, arg)).replace(/^dist\//, "");
    if (arg.startsWith("-") || !/^test\//.test(path)) options.push(arg);
    else if (/\.test\.(ts|js)$/.test(path)) files.push(`dist/${path.replace(/\.ts$/, ".js")}`);
    else files.push(`dist/${path}/**/*.test.js`);
  }
  return { files, options };
}

async function runLinter(root, env) {
  const biome = createRequire(join(root, "package.json")).resolve("@biomejs/biome/bin/biome");
  const code = await runForeground(process.execPath, [biome, "check", "."], { cwd: root, env });
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

async function runMocha(root, env, files, options) {
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
