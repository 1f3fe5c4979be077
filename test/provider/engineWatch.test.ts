import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const engineWatch = join(__dirname, "..", "..", "provider", "engineWatch.js");

/** A plugin that says when it is told to stop; its operation takes as long as `operationMs` says. */
const plugin = (operationMs: number, enginePid = "undefined") => `
  const { abortWhenEngineIsGone } = require(${JSON.stringify(engineWatch)});
  const controller = new AbortController();
  const underway = { count: 0 };
  controller.signal.addEventListener("abort", () => {
    console.log("aborted: " + controller.signal.reason.message);
    underway.count = 1;
    setTimeout(() => { console.log("undone"); underway.count = 0; }, ${operationMs});
  });
  abortWhenEngineIsGone(controller, underway, ${enginePid});
  setInterval(() => {}, 1000);
  process.on("exit", (code) => console.log("exit " + code));
  console.log("plugin " + process.pid);
`;

/** An engine that starts the plugin and goes on living. */
const engine = (code: string) => `
  require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(code)}], { stdio: "inherit" });
  setInterval(() => {}, 1000);
`;

describe("abortWhenEngineIsGone", function () {
  this.timeout(30_000);
  let parent: ChildProcess;
  let pluginPid: number | undefined;
  let lines: string[];
  let closed: Promise<unknown>;

  async function start(operationMs: number, enginePid?: string): Promise<void> {
    parent = spawn(process.execPath, ["-e", engine(plugin(operationMs, enginePid))], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    lines = [];
    const output = createInterface({ input: parent.stdout! });
    output.on("line", (line) => lines.push(line));
    closed = once(output, "close");
    const [first] = (await once(output, "line")) as [string];
    pluginPid = Number(first.split(" ")[1]);
  }

  /** The plugin holds the pipe as long as it lives, so its end is the end of the pipe. */
  const pluginEnded = (withinMs: number) =>
    Promise.race([
      closed.then(() => true),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), withinMs).unref()),
    ]);

  afterEach(() => {
    for (const pid of [parent.pid, pluginPid]) {
      try {
        if (pid !== undefined) process.kill(pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    }
  });

  it("leaves a plugin alone while its engine lives", async () => {
    await start(0);
    assert.equal(await pluginEnded(700), false);
    assert.deepEqual(lines.slice(1), []);
  });

  it("aborts and ends a plugin whose engine was killed", async () => {
    await start(0);
    parent.kill("SIGKILL");
    assert.equal(await pluginEnded(10_000), true, "the plugin lives on");
    assert.deepEqual(lines.slice(1), ["aborted: the engine that started this update is gone", "undone", "exit 1"]);
  });

  it("aborts and ends a plugin whose engine was gone before it began to watch", async () => {
    await start(0, "1234567890");
    // Its parent lives, and holds the pipe.
    for (let tries = 0; !lines.includes("exit 1") && tries < 200; tries++) await sleep(50);
    assert.deepEqual(lines.slice(1), ["aborted: the engine that started this update is gone", "undone", "exit 1"]);
  });

  it("lets an operation undo what it had begun before the plugin ends", async () => {
    await start(1000);
    parent.kill("SIGKILL");
    assert.equal(await pluginEnded(15_000), true, "the plugin lives on");
    assert.deepEqual(lines.slice(2), ["undone", "exit 1"]);
  });
});
