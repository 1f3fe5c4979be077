import assert from "node:assert/strict";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { importSetup, root, runNode, temporaryFolder } from "./support";

interface TestRun {
  splitArguments(root: string, args: string[]): { files: string[]; options: string[] };
  stagesOf(files: string[]): string[][][];
}

describe("setup: test run", () => {
  const folder = temporaryFolder();
  let module: TestRun;
  before(async () => {
    module = await importSetup<TestRun>("testRun.mjs");
  });

  /** Runs the named tests of a small project, each given as the body of a compiled test file. */
  const run = async (tests: Record<string, string>, args: string[]) => {
    const project = join(folder(), "project");
    const temporary = join(folder(), "temporary");
    mkdirSync(join(project, "dist", "test"), { recursive: true });
    mkdirSync(temporary);
    writeFileSync(join(project, "package.json"), "{}");
    for (const name of ["node_modules", "setup"]) symlinkSync(join(root, name), join(project, name));
    for (const [name, body] of Object.entries(tests)) {
      const file = join(project, "dist", "test", `${name}.test.js`);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, body);
    }
    const program = `import { runTests } from ${JSON.stringify(pathToFileURL(join(root, "setup", "testRun.mjs")).href)};
      process.exitCode = await runTests(${JSON.stringify(project)}, process.env, ${JSON.stringify(args)});`;
    const ended = await runNode(["--input-type=module", "-e", program], { env: { ...process.env, TMPDIR: temporary } });
    assert.deepEqual(readdirSync(temporary), []);
    return { code: ended.code, lastLine: ended.stdout.trimEnd().split("\n").at(-1) };
  };

  it("ends with the numbers of passed and failed tests and fails when one failed", async () => {
    const tests = { good: "it('a', () => {}); it('b', () => {});", bad: "it('c', () => { throw new Error('no'); });" };
    assert.deepEqual(await run(tests, ["test/good.test.ts", "test/bad.test.ts"]), {
      code: 1,
      lastLine: "2 passed, 1 failed",
    });
  });

  it("runs only the files that are named, and passes mocha's options on", async () => {
    const tests = { good: "it('a', () => {}); it('b', () => {});", bad: "it('c', () => { throw new Error('no'); });" };
    assert.deepEqual(await run(tests, ["test/good.test.ts", "--grep", "a"]), {
      code: 0,
      lastLine: "1 passed, 0 failed",
    });
  });

  it("counts a test file that ends mocha before its tests as a failure", async () => {
    assert.deepEqual(await run({ dead: "process.exit(0);" }, ["test/dead.test.ts"]), {
      code: 1,
      lastLine: "0 passed, 1 failed",
    });
  });

  it("runs everything, the other folders and then the files of updates, the end-to-end tests alone and at last, and no test bed", () => {
    const names = [
      "e2e/a",
      "chaos/b",
      "clouds/aws/c",
      "behaviour/d",
      "behaviour/e",
      "provider/local/f",
      "provider/g",
      "h",
    ];
    const all = names.map((name) => `dist/test/${name}.test.js`);
    const [e2e, chaos, clouds, behaviour, other, local, provider, top] = all;
    const beside = [[local, provider], [top], [behaviour], [other], [chaos], [clouds]];
    assert.deepEqual(module.stagesOf(all), [beside, [[e2e]]]);
    assert.deepEqual(module.stagesOf([chaos!, provider!]), [[[provider], [chaos]]]);
    assert.deepEqual(module.stagesOf([e2e!, "dist/test/kubernetes/e.test.js"]), [[[e2e]]]);
  });

  it("reports what failed in any of the runs", async () => {
    const good = Array.from({ length: 5 }, (_, index) => [`clouds/${index}`, "it('a', () => {});"] as const);
    const tests = {
      "provider/good": "it('a', () => {});",
      "behaviour/bad": "it('b', () => { throw new Error('no'); });",
      ...Object.fromEntries(good),
      "e2e/good": "it('c', () => {});",
    };
    const { code, lastLine } = await run(tests, []);
    assert.equal(code, 1);
    // The linter counts as one, and has nothing to check in this small project.
    assert.equal(lastLine, "7 passed, 2 failed");
  });

  it("finds the compiled tests of sources, of compiled files and of folders", () => {
    const args = [
      "test/a.test.ts",
      "dist/test/b.test.js",
      "./test/setup",
      "--grep",
      "capacity",
      join(root, "test/c.test.ts"),
    ];
    assert.deepEqual(module.splitArguments(root, args), {
      files: ["dist/test/a.test.js", "dist/test/b.test.js", "dist/test/setup/**/*.test.js", "dist/test/c.test.js"],
      options: ["--grep", "capacity"],
    });
  });

  it("runs what wants a host for itself only by its own folder", () => {
    assert.deepEqual(module.splitArguments(root, ["test/kubernetes"]), {
      files: ["dist/test/kubernetes/**/*.test.js"],
      options: ["--ignore", "dist/test/kubernetes/full/**"],
    });
    assert.deepEqual(module.splitArguments(root, ["test/kubernetes/full"]), {
      files: ["dist/test/kubernetes/full/**/*.test.js"],
      options: [],
    });
  });
});
