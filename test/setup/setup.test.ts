import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { installPackage, onlyNode, root, runNode, temporaryFolder, writeScript } from "./support";

describe("setup", () => {
  const folder = temporaryFolder();

  const setUp = (program: string[], env: NodeJS.ProcessEnv) =>
    runNode([join(installPackage(folder()), "setup", program[0]!), ...program.slice(1)], { env });

  it("says in one sentence what to do without a Python, ends with 2 and changes nothing", async () => {
    const env = { PATH: onlyNode(folder()), HOME: folder(), RAYSHIFT_HOME: join(folder(), "home") };
    const { code, stdout, stderr } = await setUp(["setup.mjs"], env);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      /^set-up failed: no Python from 3\.10 to 3\.\d+ was found .*\n {2}what to do: install Python 3\.10 .*\n$/,
    );
    assert.equal(existsSync(env.RAYSHIFT_HOME), false);
    assert.equal(existsSync(join(folder(), ".cache")), false);
  });

  it("ends a test run with the summary also when set-up fails", async () => {
    const env = { PATH: onlyNode(folder()), HOME: folder(), RAYSHIFT_HOME: join(folder(), "home") };
    const { code, stdout } = await setUp(["run.mjs", "test"], env);
    assert.equal(code, 2);
    assert.equal(stdout, "0 passed, 1 failed\n");
  });

  it("ends what it can when a part fails, and tells of every part that failed", async () => {
    const env = { PATH: onlyNode(folder()), HOME: folder(), RAYSHIFT_HOME: join(folder(), "home") };
    const answer = `printf '3.12.1\\n%s\\nTrue\\n' "$0"`;
    writeScript(
      join(env.PATH, "python3"),
      `case "$3" in *platform*) ${answer};; *) echo "disk is full" >&2; exit 1;; esac`,
    );
    const { code, stderr } = await setUp(["setup.mjs"], env);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^set-up failed: the Pulumi CLI .* there is no Go on PATH\n {2}what to do: install Go /m);
    assert.match(stderr, /^set-up failed: `.*python3 -m venv` ended .*\n {2}\| disk is full\n {2}what to do: see /m);
  });

  it("refuses a program it does not know", async () => {
    const { code, stderr } = await setUp(["run.mjs", "constructor"], process.env);
    assert.equal(code, 2);
    assert.match(stderr, /usage: .*test\|start\|bench\|chaos\|/);
  });

  it("has every Python package pinned with a checksum, and names no place to fetch it from", () => {
    const text = readFileSync(join(root, "setup", "python", "requirements.txt"), "utf8").replaceAll("\\\n", " ");
    const lines = text.split("\n").filter((line) => line !== "" && !line.trimStart().startsWith("#"));
    assert.ok(lines.length > 50);
    for (const line of lines) assert.match(line, /^[\w.-]+(\[\w+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}/);
    assert.doesNotMatch(text, /https?:/);
  });

  describe("a second time", () => {
    before(function () {
      // Set-up exports its home: without it these tests were started by hand, and there may be nothing to reuse.
      if (process.env.RAYSHIFT_HOME === undefined) this.skip();
    });

    it("takes a few seconds, says what it reused, and keeps to standard error", async () => {
      const { code, stdout, stderr, seconds } = await setUp(["setup.mjs"], process.env);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, "");
      for (const title of ["Node packages", "Pulumi CLI", "Ray and HAProxy", "Build"]) {
        assert.match(stderr, new RegExp(`^${title}.*: reused, `, "m"));
      }
      // Under a second on an idle machine; any of the steps performed anew takes longer than this.
      assert.ok(seconds < 15, `${seconds} s`);
    });

    it("says one line before it runs a program, which has standard output for itself", async () => {
      const { code, stdout, stderr } = await setUp(["run.mjs", "pulumi", "version"], process.env);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^v?3\.\d+\.\d+\n$/);
      assert.match(stderr, /^set-up: everything is in place \(\d+\.\d s\)\n$/);
    });
  });
});
