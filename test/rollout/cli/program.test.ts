import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program } from "../../../rollout/cli/program";
import { packageRoot } from "../../../rollout/project";
import { FakePulumi, noStack } from "../fakePulumi";

const common = ["--stack", "--folder", "--json", "--help"];

const commands: Record<string, string[]> = {
  deploy: ["--file", "--canary-percent", "--max-surge-percent", "--in-place", "--retry", ...common],
  rollback: ["--max-surge-percent", ...common],
  status: ["--watch", ...common],
  wait: ["--state", "--timeout-s", ...common],
  plan: ["--file", "--canary-percent", "--max-surge-percent", "--in-place", "--retry", ...common],
  supervise: ["--once", "--interval-s", ...common],
  history: ["--max-items", ...common],
  terminate: common,
  verify: [...common, "--file"],
  setup: ["--help"],
};

describe("The command line", function () {
  this.timeout(60_000);

  describe("has", () => {
    for (const [name, flags] of Object.entries(commands)) {
      it(`${name} with its flags`, () => {
        const command = program().commands.find((each) => each.name() === name) ?? assert.fail(`no ${name}`);
        const help = command.helpInformation();
        const named = [...help.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, flag]) => flag);
        assert.deepEqual(named.filter((flag) => flag !== "--version").sort(), [...flags].sort(), help);
      });
    }

    it("no other commands", () => {
      const names = program().commands.map((command) => command.name());
      assert.deepEqual(names.sort(), Object.keys(commands).sort());
    });

    it("Anyscale's short flags, and the stack dev where none is named", () => {
      const deploy = program().commands.find((each) => each.name() === "deploy")!;
      assert.deepEqual(
        deploy.options.map(({ short }) => short).filter((short) => short !== undefined),
        ["-s", "-C", "-f", "-i"],
      );
      assert.equal(deploy.opts().stack, "dev");
    });
  });

  describe("run as a process", () => {
    let cli: FakePulumi;
    beforeEach(() => {
      cli = new FakePulumi({ "stack output": [noStack] });
    });
    afterEach(() => cli.remove());

    function start(args: string[]): {
      child: ChildProcess;
      ended: Promise<{ code: number | null; out: string; err: string }>;
    } {
      const main = join(packageRoot, "dist", "rollout", "cli", "main.js");
      const child = spawn(process.execPath, [main, ...args], {
        cwd: cli.folder,
        env: cli.environment,
        stdio: ["ignore", "pipe", "pipe"],
      });
      const said = { out: "", err: "" };
      child.stdout.on("data", (text) => (said.out += text));
      child.stderr.on("data", (text) => (said.err += text));
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
      return { child, ended: ended.then((code) => ({ code, ...said })) };
    }
    const run = (...args: string[]) => start(args).ended;

    it("says its version and its help, and that is no failure", async () => {
      const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
      assert.deepEqual(await run("--version"), { code: 0, out: `${version}\n`, err: "" });
      const help = await run("deploy", "--help");
      assert.deepEqual([help.code, help.err], [0, ""]);
      assert.match(help.out, /^Usage: rayshift deploy/);
    });

    it("refuses what it does not know, says so once, and does nothing", async () => {
      for (const args of [["deploy", "--canary", "10"], ["deplyo"], ["status", "--file", "x"]]) {
        const { code, out, err } = await run(...args);
        assert.deepEqual([code, out], [2, ""], err);
        assert.match(err, /^error: unknown (option|command) '[^\n]*\n/);
        assert.equal(err.match(/error:/g)?.length, 1);
      }
      assert.deepEqual(cli.calls(), []);
    });

    it("refuses wrong values by the names of their flags, without a stack trace", async () => {
      const cases = [
        ["wait", "--state", "FINE"],
        ["wait", "--timeout-s", "soon"],
        ["history", "--max-items", "few"],
        ["deploy", "--file", "none.yaml"],
        ["deploy", "--canary-percent", "101"],
      ];
      const configured = 'config: {"rayshift:service": {name: words, applications: [{import_path: "app:app"}]}}\n';
      writeFileSync(join(cli.folder, "Pulumi.dev.yaml"), configured);
      for (const args of cases) {
        const { code, out, err } = await run(...args);
        assert.deepEqual([code, out], [2, ""], err);
        assert.match(
          err,
          new RegExp(`^invalid command line, 1 problem; nothing was changed:\\n {2}- ${args[1]}: [^\\n]*\\n$`),
        );
      }
      assert.deepEqual(cli.calls(), []);
    });

    it("says what runs, in words or as JSON", async () => {
      assert.deepEqual(await run("status"), { code: 0, out: "TERMINATED\n", err: "" });
      const { code, out } = await run("status", "--json");
      const { time, ...status } = JSON.parse(out);
      assert.equal(code, 0);
      assert.equal(new Date(time).toISOString(), time);
      assert.deepEqual(status, { event: "status", state: "TERMINATED", problems: [] });
    });

    it("works on the folder and the stack that are named", async () => {
      const elsewhere = new FakePulumi({});
      try {
        const { code } = await run("status", "-C", elsewhere.folder, "-s", "prod");
        assert.equal(code, 0);
        const { args, environment } = cli.calls()[0]!;
        assert.equal(args[args.indexOf("--stack") + 1], "prod");
        assert.equal(environment.RAYSHIFT_PROJECT, elsewhere.folder);
      } finally {
        elsewhere.remove();
      }
    });

    it("gives a wait up when its time is over", async () => {
      const { code, err } = await run("wait", "--timeout-s", "0.1");
      assert.equal(code, 1);
      assert.equal(err, "the service is TERMINATED and not RUNNING after 0.1 seconds\n");
    });

    it("watches until it is interrupted, wherever that finds it, and that is no failure", async () => {
      cli.remove();
      cli = new FakePulumi({ "stack output": [noStack, { code: 1, untilInterrupted: true }] });
      const { child, ended } = start(["status", "--watch"]);
      await cli.waits();
      child.kill("SIGINT");
      assert.deepEqual(await ended, { code: 0, out: "TERMINATED\n", err: "" });
    });
  });
});
