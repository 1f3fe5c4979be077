import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { importSetup, root, runNode, temporaryFolder } from "./support";

interface Child {
  runHelper(command: string, args: string[], options: { timeoutSeconds?: number; remedy: string }): Promise<string>;
  isForeground(stat: string): boolean;
  shorten(text: string): string;
}

const modulePath = JSON.stringify(pathToFileURL(join(root, "setup", "child.mjs")).href);

describe("setup: child processes", () => {
  const folder = temporaryFolder();
  let child: Child;
  before(async () => {
    child = await importSetup<Child>("child.mjs");
  });

  /** Runs `program` in the foreground of a wrapper, in a session without a terminal, and signals the wrapper once it printed "ready". */
  const wrapped = (program: string, signal?: NodeJS.Signals) => {
    const wrapper = `import { runForeground } from ${modulePath};
      process.exitCode = await runForeground(process.execPath, ["-e", ${JSON.stringify(program)}], { cwd: ".", env: process.env });`;
    let sent = false;
    return runNode(["--input-type=module", "-e", wrapper], { detached: true }, (pid, stdout) => {
      if (signal === undefined || sent || !stdout.includes("ready")) return;
      sent = true;
      process.kill(pid, signal);
    });
  };
  const countSignals = `let count = 0;
    for (const name of ["SIGINT", "SIGTERM"]) process.on(name, () => { count++; console.log(name); setTimeout(() => process.exit(count === 1 ? 7 : 8), 300); });
    setInterval(() => {}, 1000);
    console.log("ready");`;

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`hands ${signal} on once and waits for the end that the program chooses`, async () => {
      const { code, stdout } = await wrapped(countSignals, signal);
      assert.equal(stdout, `ready\n${signal}\n`);
      assert.equal(code, 7);
    });
  }

  it("passes exit codes on, and a death by signal as 128 and its number", async () => {
    assert.equal((await wrapped("process.exit(3)")).code, 3);
    assert.equal((await wrapped("process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)")).code, 143);
  });

  it("sees whether the terminal's Ctrl-C reaches the child without us", () => {
    assert.equal(child.isForeground("12 (node) S 10 12 9 34816 12 4194304"), true);
    assert.equal(child.isForeground("12 (a ) b) S 10 12 9 34816 40 4194304"), false);
    assert.equal(child.isForeground("12 (node) S 10 12 12 0 -1 4194304"), false);
  });

  it("gives the standard output of a helper that succeeds", async () => {
    assert.equal(await child.runHelper("sh", ["-c", "echo out; echo err >&2"], { remedy: "" }), "out\n");
  });

  it("names the helper that failed, its exit code, its words and the remedy", async () => {
    await assert.rejects(child.runHelper("sh", ["-c", "echo no space left >&2; exit 4"], { remedy: "make room" }), {
      message: /`sh -c .*exit code 4/,
      output: "no space left",
      remedy: "make room",
      exitCode: 1,
    });
    await assert.rejects(child.runHelper("no-such-program", [], { remedy: "" }), { message: /ENOENT/ });
  });

  it("ends a helper that takes too long together with what it started", async () => {
    const late = join(folder(), "late");
    const helper = child.runHelper("sh", ["-c", `(sleep 1.5; touch ${late}) & wait`], {
      timeoutSeconds: 0.3,
      remedy: "",
    });
    await assert.rejects(helper, { message: /did not end within 0\.3 s/ });
    await new Promise((resolve) => setTimeout(resolve, 1700));
    assert.equal(existsSync(late), false);
  }).timeout(20_000);

  it("ends its helpers and clears away what is half-made when set-up is interrupted", async () => {
    const half = join(folder(), "half-made");
    const late = join(folder(), "late");
    writeFileSync(half, "");
    const program = `import { rmSync } from "node:fs";
      import { interruptible, onInterrupt, runHelper } from ${modulePath};
      interruptible();
      onInterrupt(() => rmSync(${JSON.stringify(half)}));
      const helper = runHelper("sh", ["-c", "sleep 1.5; touch ${late}"], { remedy: "" });
      console.log("ready");
      await helper;`;
    const ended = await runNode(["--input-type=module", "-e", program], {}, (pid) => process.kill(pid, "SIGTERM"));
    assert.equal(ended.code, 143);
    assert.equal(existsSync(half), false);
    await new Promise((resolve) => setTimeout(resolve, 1700));
    assert.equal(existsSync(late), false);
  }).timeout(20_000);

  it("shows the beginning and the end of a long message", () => {
    const lines = Array.from({ length: 100 }, (_, i) => `line ${i}`);
    const shown = child.shorten(`${lines.join("\n")}\n`).split("\n");
    assert.deepEqual([shown[0], shown[12], shown.at(-1)], ["line 0", "...", "line 99"]);
    assert.equal(child.shorten("a\nb\n"), "a\nb");
  });
});
