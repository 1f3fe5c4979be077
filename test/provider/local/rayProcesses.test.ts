import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { CLUSTER_VARIABLE, clusterProcesses, endCluster, liveWorkerCount } from "../../../provider/local/rayProcesses";

/** Prints a line once it is ready and sleeps; `title` is the name that the kernel shows. */
const SLEEPER = `
import ctypes, os, signal, subprocess, sys, time
title, stubborn, child = sys.argv[1], sys.argv[2] == "stubborn", sys.argv[3] == "child"
ctypes.CDLL(None).prctl(15, title.encode())
if stubborn: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if child: subprocess.Popen(["sleep", "60"], env={})
print("ready", flush=True)
time.sleep(60)
`;

/** Under a raylet's name, with a child that has not become another program yet and ends with it. */
const FORKING = `
import ctypes, os, signal, time
libc = ctypes.CDLL(None)
libc.prctl(15, b"raylet")
if os.fork() == 0:
    libc.prctl(1, signal.SIGKILL)
    print("ready", flush=True)
time.sleep(60)
`;

describe("the processes of a cluster", function () {
  this.timeout(30_000);
  let root: string;
  let directory: string;
  let started: ChildProcess[];

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "rs-processes-"));
    directory = join(root, "c");
    mkdirSync(join(directory, "ray"), { recursive: true });
    started = [];
  });
  afterEach(() => {
    for (const child of started) child.kill("SIGKILL");
    rmSync(root, { recursive: true, force: true });
  });

  async function start(
    where: { marked?: string; cwd?: string },
    { title = "python", stubborn = false, child = false } = {},
  ): Promise<ChildProcess> {
    const words = ["-c", SLEEPER, title, stubborn ? "stubborn" : "-", child ? "child" : "-"];
    const process_ = spawn(process.env.RAYSHIFT_PYTHON ?? "python3", words, {
      cwd: where.cwd ?? root,
      env: { PATH: process.env.PATH, ...(where.marked === undefined ? {} : { [CLUSTER_VARIABLE]: where.marked }) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    started.push(process_);
    await new Promise((ready) => process_.stdout!.once("data", ready));
    return process_;
  }
  const found = () => clusterProcesses(directory).map(({ pid }) => pid);

  it("count a raylet once that starts a process, which looks like it until it is another program", async () => {
    const raylet = (...words: string[]) => {
      const mark = `--temp_dir=${directory}/ray`;
      const child = spawn(process.env.RAYSHIFT_PYTHON ?? "python3", ["-c", FORKING, mark, ...words], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      started.push(child);
      return new Promise((ready) => child.stdout!.once("data", ready));
    };
    await raylet();
    assert.equal(liveWorkerCount(directory), 1);
    await raylet("--head");
    assert.equal(liveWorkerCount(directory), 1, "the head's raylet, and what it starts, is no worker");
    await raylet();
    assert.equal(liveWorkerCount(directory), 2);
  });

  it("count no head's raylet that ends while it is looked at", async () => {
    const raylet = join(directory, "raylet");
    symlinkSync("/bin/sh", raylet);
    const words = ["-c", "read _", "raylet", `--temp_dir=${directory}/ray`, "--head"];
    const heads = Array.from({ length: 40 }, () => spawn(raylet, words, { stdio: ["pipe", "ignore", "ignore"] }));
    started.push(...heads);
    await Promise.all(heads.map((head) => once(head, "spawn")));
    started.push(spawn("sh", ["-c", heads.map(({ pid }) => `kill ${pid}`).join("; sleep 0.003; ")]));
    const counts = new Set<number>();
    while (heads.some(({ exitCode, signalCode }) => (exitCode ?? signalCode) === null)) {
      counts.add(liveWorkerCount(directory));
      await setImmediate();
    }
    assert.deepEqual([...counts], [0]);
  });

  it("are those with its variable and their children, whatever those changed", async () => {
    const head = await start({ marked: directory }, { child: true });
    const pids = found();
    assert.equal(pids.length, 2);
    assert.ok(pids.includes(head.pid!));
  });

  it("are Ray's own in its directory, which hide their environment", async () => {
    const replica = await start({ cwd: join(directory, "ray") }, { title: "ray::Replica" });
    assert.deepEqual(found(), [replica.pid]);
  });

  it("are neither another cluster's nor a person's", async () => {
    mkdirSync(`${directory}2`);
    await start({ marked: `${directory}2`, cwd: `${directory}2` }, { title: "ray::Replica" });
    await start({ cwd: directory });
    assert.deepEqual(found(), []);
  });

  it("end when they are asked to, all of them", async () => {
    await start({ marked: directory }, { child: true });
    const stranger = await start({ cwd: directory });
    await endCluster(directory);
    assert.deepEqual(found(), []);
    assert.equal(stranger.exitCode ?? stranger.signalCode, null);
  });

  it("are killed when they do not end", async () => {
    const stubborn = await start({ marked: directory }, { stubborn: true });
    await endCluster(directory, 1000);
    await sleep(50);
    assert.equal(stubborn.signalCode, "SIGKILL");
  });
});
