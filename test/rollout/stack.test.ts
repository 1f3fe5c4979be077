import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineEnded, Refused, StackLocked, UpdateFailed } from "../../rollout/errors";
import { claimedBy, isOrphan } from "../../rollout/orphans";
import { type EngineEvent, PulumiCli } from "../../rollout/pulumi";
import { Stack } from "../../rollout/stack";
import { type Answer, diagnostic, FakePulumi, lockedBy, noStack, wrongPassphrase } from "./fakePulumi";

const deadPid = spawnSync("true").pid;

describe("Stack", function () {
  // Each run of the CLI is a process of its own.
  this.timeout(60_000);
  let clis: FakePulumi[] = [];
  afterEach(() => {
    for (const cli of clis) cli.remove();
    clis = [];
  });

  function stackOf(answers: Record<string, Answer[]>): { cli: FakePulumi; stack: Stack } {
    const cli = new FakePulumi(answers);
    clis.push(cli);
    return { cli, stack: new Stack(new PulumiCli(cli.project, cli.environment)) };
  }

  const json = (value: object): Answer => ({ stdout: JSON.stringify(value) });
  const failing = (...events: object[]): Answer => ({ code: 255, stderr: "error: update failed\n", events });

  describe("outputs", () => {
    it("are undefined when there is no such stack", async () => {
      assert.equal(await stackOf({ "stack output": [noStack] }).stack.outputs(), undefined);
    });

    it("have no record when nothing was deployed", async () => {
      assert.deepEqual(await stackOf({ "stack output": [json({})] }).stack.outputs(), { rollout: undefined });
    });

    it("are not there during a first update, which the stack's resources tell from nothing at all", async () => {
      const holding = (...types: string[]) => ({
        deployment: { resources: types.map((type) => ({ type, urn: type })) },
      });
      const asked = (answer: object) => stackOf({ "stack export": [json(answer)] }).stack.holdsService();
      assert.equal(await asked(holding("pulumi:pulumi:Stack", "rayshift:index:Service")), true);
      assert.equal(await asked(holding("pulumi:pulumi:Stack")), false);
      assert.equal(await asked({ deployment: {} }), false);
    });

    it("are those of the project's stack, secrets in clear", async () => {
      const { cli, stack } = stackOf({ "stack output": [json({ url: "http://127.0.0.1:1", queryAuthToken: "t" })] });
      assert.deepEqual(await stack.outputs(), { url: "http://127.0.0.1:1", queryAuthToken: "t", rollout: undefined });
      const [call] = cli.calls();
      assert.deepEqual(call!.args.slice(0, 6), ["stack", "output", "--json", "--show-secrets", "--stack", "dev"]);
      assert.deepEqual(
        [call!.environment.RAYSHIFT_PROJECT, call!.environment.RAYSHIFT_HOME],
        [cli.folder, join(cli.folder, ".rayshift")],
      );
    });

    it("are refused, with the remedy, when the passphrase is not the stack's", async () => {
      await assert.rejects(stackOf({ "stack output": [wrongPassphrase] }).stack.outputs(), (error) => {
        assert.ok(error instanceof Refused);
        assert.equal(error.exitCode, 2);
        assert.match(error.message, /Set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the one/);
        return true;
      });
    });

    it("fail with the CLI's own words for any other reason", async () => {
      const answer = { code: 1, stderr: "error: could not read the backend\n" };
      await assert.rejects(stackOf({ "stack output": [answer] }).stack.outputs(), (error) => {
        assert.ok(error instanceof UpdateFailed);
        assert.equal(error.message, "reading the stack's outputs failed: could not read the backend");
        return true;
      });
    });

    it("name the set-up where there is no CLI", async () => {
      const { cli } = stackOf({});
      const without = new Stack(new PulumiCli(cli.project, { PATH: join(cli.folder, "none") }));
      await assert.rejects(without.outputs(), (error) => {
        assert.ok(error instanceof Refused);
        assert.match(error.message, /npx rayshift setup/);
        return true;
      });
    });
  });

  describe("create", () => {
    it("minds no stack that is there already, and nothing else", async () => {
      await stackOf({ "stack init": [{ code: 1, stderr: "error: stack 'dev' already exists\n" }] }).stack.create();
      const { stack } = stackOf({ "stack init": [{ code: 1, stderr: "error: disk full\n" }] });
      await assert.rejects(stack.create(), /creating the stack failed: disk full/);
    });
  });

  describe("update", () => {
    it("says everything that the engine reported, once, without its frame", async () => {
      const { stack } = stackOf({
        up: [
          failing(
            diagnostic("1 error occurred:\n\t* the head did not start\n"),
            diagnostic("a part: port 8000 is taken\n"),
            diagnostic("a part: port 8000 is taken\n"),
            diagnostic("only a hint\n", "info"),
            diagnostic("update failed\n"),
          ),
        ],
      });
      await assert.rejects(stack.update({ message: "m" }), (error) => {
        assert.ok(error instanceof UpdateFailed);
        assert.equal(error.message, "the head did not start\na part: port 8000 is taken");
        return true;
      });
    });

    it("tells a provider that was killed from a resource that failed", async () => {
      const killed = [
        diagnostic("error reading from server: EOF\n"),
        diagnostic("Detected that /p/pulumi-resource-rayserve exited prematurely. \n       This is *always* a bug\n"),
      ];
      for (const event of killed) {
        const { stack } = stackOf({ up: [failing(event)] });
        await assert.rejects(stack.update({ message: "m" }), (error) => {
          assert.ok(error instanceof EngineEnded, String(error));
          assert.match(error.message, /provider's process ended .*run the same command again/s);
          assert.doesNotMatch(error.message, /bug/);
          return true;
        });
      }
      const own = "applications-v2 at http://127.0.0.1:1: RuntimeError: error reading from server: EOF";
      await assert.rejects(stackOf({ up: [failing(diagnostic(own))] }).stack.update({ message: "m" }), (error) => {
        assert.ok(error instanceof UpdateFailed && !(error instanceof EngineEnded));
        return true;
      });
    });

    it("says that the engine was killed", async () => {
      const error = /^EngineEnded: the Pulumi engine ended in the middle of the update: .*run the same command again/;
      await assert.rejects(stackOf({ up: [{ killed: true }] }).stack.update({ message: "m" }), error);
    });

    it("removes the logs of commands that were killed, and no others", async () => {
      const { cli, stack } = stackOf({ up: [{}] });
      const run = join(cli.folder, ".rayshift", "run");
      mkdirSync(run, { recursive: true });
      const [dead, living] = [`events-${deadPid}-1.jsonl`, `events-${process.pid}-1.jsonl`];
      for (const name of [dead, living]) writeFileSync(join(run, name), "");
      await stack.update({ message: "m" });
      assert.deepEqual(readdirSync(run), [living]);
    });

    it("says what the CLI printed when the engine reported nothing", async () => {
      const { stack } = stackOf({ up: [{ code: 1, stderr: "error: no such plugin\n" }] });
      await assert.rejects(stack.update({ message: "m" }), /^UpdateFailed: update failed: no such plugin$/);
    });

    it("passes every event on, also the last ones, and leaves no log", async () => {
      const events: EngineEvent[] = Array.from({ length: 3000 }, (_, index) => ({
        diagnosticEvent: { message: `${index} ${"x".repeat(50)}`, severity: "info" },
      }));
      const { cli, stack } = stackOf({ up: [{ events }] });
      const seen: EngineEvent[] = [];
      await stack.update({ message: "m", onEvent: (event) => seen.push(event) });
      assert.deepEqual(seen, events);
      const logs = join(cli.folder, ".rayshift", "run");
      assert.deepEqual(readdirSync(logs), []);
      assert.equal(statSync(logs).mode & 0o77, 0);
    });

    it("passes characters of several bytes on whole, wherever a read of the log ends", async () => {
      // Characters of 3 bytes, and reads of 2 to the power of 16: one of any three reads ends within one.
      const events: EngineEvent[] = [{ diagnosticEvent: { message: "€".repeat(100_000), severity: "info" } }];
      const { stack } = stackOf({ up: [{ events }] });
      const seen: EngineEvent[] = [];
      await stack.update({ message: "m", onEvent: (event) => seen.push(event) });
      assert.deepEqual(seen, events);
    });

    it("looks at what runs before it only when asked to", async () => {
      const { cli, stack } = stackOf({});
      await stack.update({ message: "first" });
      await stack.update({ message: "second", refresh: true });
      const [plain, refreshed] = cli.calls().map(({ args }) => args);
      assert.deepEqual(plain!.slice(0, 5), ["up", "--yes", "--skip-preview", "--message", "first"]);
      assert.deepEqual([plain!.includes("--refresh"), refreshed!.includes("--refresh")], [false, true]);
    });

    it("is marked as this process's, and has a process group of its own", async () => {
      const { cli, stack } = stackOf({});
      await stack.update({ message: "m" });
      const [call] = cli.calls();
      const [[name, value] = ["", ""]] = Object.entries(claimedBy(process.pid));
      assert.equal(call!.environment[name], value);
      assert.equal(call!.processGroup, call!.pid);
    });

    it("is interrupted once when it is aborted", async () => {
      const { cli, stack } = stackOf({ up: [{ ...failing(), untilInterrupted: true }] });
      const ending = new AbortController();
      const update = assert.rejects(stack.update({ message: "m", signal: ending.signal }), UpdateFailed);
      await cli.waits();
      ending.abort();
      await update;
      assert.deepEqual(cli.signals(), ["SIGINT-0"]);
    });

    it("does not begin when it is aborted before", async () => {
      const { cli, stack } = stackOf({});
      await assert.rejects(stack.update({ message: "m", signal: AbortSignal.abort() }), { name: "AbortError" });
      assert.deepEqual(cli.calls(), []);
    });
  });

  describe("whose lock is held", () => {
    let children: ChildProcess[] = [];
    afterEach(() => {
      for (const child of children) child.kill("SIGKILL");
      children = [];
    });

    function start(environment: Record<string, string> = {}): ChildProcess & { pid: number } {
      const child = spawn("sleep", ["60"], { env: { PATH: process.env.PATH, ...environment }, stdio: "ignore" });
      children.push(child);
      return child as ChildProcess & { pid: number };
    }

    async function refused(answer: Answer, expected: RegExp): Promise<void> {
      const { cli, stack } = stackOf({ up: [answer, {}] });
      await assert.rejects(stack.update({ message: "m" }), (error) => {
        assert.ok(error instanceof StackLocked);
        assert.match(error.message, expected);
        return true;
      });
      assert.deepEqual(cli.commands(), ["up"]);
    }

    it("by a process that runs: refuses, and names it", async () => {
      const other = start();
      await refused(lockedBy(other.pid), new RegExp(`\\(ada@\\S+, pid ${other.pid}, since 2026-01-31T12:00:00Z\\)`));
      assert.equal(other.signalCode, null);
    });

    it("by an update whose driver runs: refuses", async () => {
      const update = start(claimedBy(process.pid));
      await refused(lockedBy(update.pid), /another update works on this stack/);
      assert.equal(update.signalCode, null);
    });

    it("on another host: refuses, whatever runs here under that pid", async () => {
      await refused(lockedBy(deadPid, "elsewhere"), new RegExp(`ada@elsewhere, pid ${deadPid}, since`));
    });

    it("by one that ended: takes the lock away, and goes on", async () => {
      const { cli, stack } = stackOf({ up: [lockedBy(deadPid), {}] });
      await stack.update({ message: "m" });
      assert.deepEqual(cli.commands(), ["up", "cancel", "up"]);
    });

    it("by two, of which one runs: takes nothing away", async () => {
      const dead = lockedBy(deadPid);
      const living = lockedBy(process.pid).stderr!.split("\n")[1];
      await refused({ ...dead, stderr: `${dead.stderr}${living}\n` }, new RegExp(`pid ${process.pid}`));
    });

    it("by an update whose driver was killed: interrupts it, waits for its end, and goes on", async () => {
      const driver = start();
      const orphan = start(claimedBy(driver.pid));
      driver.kill("SIGKILL");
      await once(driver, "exit");
      assert.ok(isOrphan(orphan.pid));
      const ended = once(orphan, "exit");
      const { cli, stack } = stackOf({ up: [lockedBy(orphan.pid), {}] });
      await stack.update({ message: "m" });
      assert.deepEqual(await ended, [null, "SIGINT"]);
      assert.deepEqual(cli.commands(), ["up", "cancel", "up"]);
    });

    it("says the errors of the second try alone", async () => {
      const locked = { ...lockedBy(deadPid), events: [diagnostic("the stack is currently locked")] };
      const { stack } = stackOf({ up: [locked, failing(diagnostic("no GPU"))] });
      await assert.rejects(stack.update({ message: "m" }), /^UpdateFailed: no GPU$/);
    });
  });

  describe("endOrphan", () => {
    it("takes the lock of a dead update, and leaves the state as it is", async () => {
      const state = { deployment: { resources: [] } };
      const { cli, stack } = stackOf({
        "stack export": [json(state)],
        cancel: [{}],
        "stack import": [lockedBy(deadPid), {}],
      });
      await stack.endOrphan();
      assert.ok(cli.commands().includes("cancel"), cli.commands().join(", "));
      assert.deepEqual(JSON.parse(cli.calls().at(-1)!.input), state);
    });

    it("refuses to go on beside an update of somebody else", async () => {
      const { stack } = stackOf({ "stack export": [json({})], "stack import": [lockedBy(process.pid)] });
      await assert.rejects(stack.endOrphan(), StackLocked);
    });

    it("finds nothing to end where there is no stack", async () => {
      const { cli, stack } = stackOf({ "stack export": [noStack] });
      await stack.endOrphan();
      assert.deepEqual(cli.commands(), ["stack export"]);
    });
  });

  describe("settle", () => {
    let directory: string;
    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), "rayshift-half-"));
      // By this file a directory is known as that of a cluster.
      writeFileSync(join(directory, "cluster.json"), "{}");
      writeFileSync(join(directory, "left"), "");
    });
    afterEach(() => rmSync(directory, { recursive: true, force: true }));

    const resources = [
      { type: "pulumi:pulumi:Stack", urn: "urn:pulumi:dev::rayshift::pulumi:pulumi:Stack::rayshift-dev" },
      { type: "rayshift:local:Cluster", urn: "urn:pulumi:dev::rayshift::rayshift:local:Cluster::cluster-v1" },
      { type: "rayserve:local:Cluster", urn: "urn:pulumi:dev::rayshift::rayserve:local:Cluster::inner" },
    ];
    const exported = (...pending: object[]) => ({
      version: 3,
      deployment: { resources, ...(pending.length > 0 ? { pending_operations: pending } : {}) },
    });
    const half = (type: string, resource = "rayserve:local:Cluster") => ({
      type,
      resource: { type: resource, inputs: { directory, clusterName: "s-v2" } },
    });

    it("changes nothing where nothing was left, and names the clusters that are there", async () => {
      const { cli, stack } = stackOf({ "stack export": [json(exported())] });
      assert.deepEqual(await stack.settle(), ["cluster-v1"]);
      assert.deepEqual(cli.commands(), ["stack export"]);
    });

    it("minds no stack in which nothing ever was", async () => {
      const { cli, stack } = stackOf({ "stack export": [json({ version: 3 })] });
      assert.deepEqual(await stack.settle(), []);
      assert.deepEqual(cli.commands(), ["stack export"]);
    });

    it("ends what was being made, and takes it out of the state", async () => {
      const { cli, stack } = stackOf({ "stack export": [json(exported(half("creating")))] });
      assert.deepEqual(await stack.settle(), ["cluster-v1"]);
      assert.equal(existsSync(directory), false);
      const last = cli.calls().at(-1)!;
      assert.deepEqual(last.args.slice(0, 2), ["stack", "import"]);
      assert.deepEqual(JSON.parse(last.input), {
        version: 3,
        deployment: { resources, pending_operations: [] },
      });
    });

    it("leaves alone what was being changed or ended, and what is not this provider's", async () => {
      const pending = [half("updating"), half("deleting"), half("creating", "aws:ec2:Instance")];
      const { cli, stack } = stackOf({ "stack export": [json(exported(...pending))] });
      await stack.settle();
      assert.ok(existsSync(join(directory, "left")));
      assert.deepEqual(JSON.parse(cli.calls().at(-1)!.input).deployment.pending_operations, []);
    });

    it("leaves alone what an update by hand has made since", async () => {
      const [, , made] = resources;
      const { type, resource } = half("creating");
      const { cli, stack } = stackOf({
        "stack export": [json(exported({ type, resource: { ...resource, urn: made!.urn } }))],
      });
      await stack.settle();
      assert.ok(existsSync(join(directory, "left")));
      assert.deepEqual(JSON.parse(cli.calls().at(-1)!.input).deployment.pending_operations, []);
    });

    it("ends nothing of an update that runs: the lock is asked for first", async () => {
      const { cli, stack } = stackOf({
        "stack export": [json(exported(half("creating")))],
        "stack import": [lockedBy(process.pid), {}],
      });
      await assert.rejects(stack.settle(), StackLocked);
      assert.ok(existsSync(join(directory, "left")));
      assert.equal(cli.commands().filter((command) => command === "stack import").length, 1);
      assert.ok(!cli.commands().includes("cancel"));
    });

    it("goes by the state as it is once the lock of a dead update is gone", async () => {
      const later = {
        ...exported(half("updating")),
        deployment: { pending_operations: [half("updating")], resources: [] },
      };
      const { cli, stack } = stackOf({
        "stack export": [json(exported(half("creating"))), json(later)],
        "stack import": [lockedBy(deadPid), {}],
      });
      assert.deepEqual(await stack.settle(), []);
      assert.ok(existsSync(join(directory, "left")));
      assert.equal(cli.commands().filter((command) => command === "cancel").length, 1);
    });

    it("says why the state cannot be written, and stops there", async () => {
      const { cli, stack } = stackOf({
        "stack export": [json(exported(half("creating")))],
        "stack import": [{ code: 1, stderr: "error: disk full\n" }],
      });
      await assert.rejects(stack.settle(), /pulumi stack import failed: disk full/);
      assert.ok(existsSync(join(directory, "left")));
      assert.ok(cli.commands().length > 0);
    });
  });

  describe("destroy", () => {
    it("ends the resources, and then the stack without its config", async () => {
      const { cli, stack } = stackOf({});
      await stack.destroy();
      assert.deepEqual(cli.commands(), ["destroy", "stack rm"]);
      assert.ok(cli.calls()[1]!.args.includes("--preserve-config"));
    });

    it("keeps the stack when a resource could not be ended", async () => {
      const { cli, stack } = stackOf({ destroy: [failing(diagnostic("processes do not end"))] });
      await assert.rejects(stack.destroy(), /^UpdateFailed: processes do not end$/);
      assert.deepEqual(cli.commands(), ["destroy"]);
    });
  });
});
