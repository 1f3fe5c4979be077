import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import {
  endProcess,
  identify,
  isAlive,
  portHolder,
  processesWithArgument,
  signalProcess,
} from "../../../provider/local/process";

describe("one process of the host", () => {
  let child: ChildProcess;
  const start = async (script: string, ...args: string[]) => {
    child = spawn("sh", ["-c", `${script}; echo ready; while :; do sleep 0.05; done`, "sh", ...args]);
    await once(child.stdout!, "data");
    return identify(child.pid!)!;
  };
  afterEach(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
  });

  it("is never mistaken for another one with the same pid", async () => {
    const identity = await start("true");
    assert.ok(isAlive(identity));
    const earlier = { ...identity, startTime: "1@another boot" };
    assert.ok(!isAlive(earlier));
    assert.equal(signalProcess(earlier, "SIGKILL"), false);
    assert.ok(isAlive(identity), "was hit");
  });

  it("is asked before it is forced to end", async () => {
    const polite = await start("trap 'exit 7' TERM");
    const exited = once(child, "exit");
    assert.ok(await endProcess(polite, [{ signal: "SIGTERM", waitMs: 2000 }]));
    assert.deepEqual(await exited, [7, null]);
    const stubborn = await start("trap '' TERM");
    assert.equal(await endProcess(stubborn, [{ signal: "SIGTERM", waitMs: 150 }]), false);
    const steps = [
      { signal: "SIGTERM", waitMs: 150 },
      { signal: "SIGKILL", waitMs: 2000 },
    ] as const;
    assert.ok(await endProcess(stubborn, steps));
    assert.equal(identify(stubborn.pid), undefined);
    assert.ok(await endProcess(stubborn, steps), "is gone already");
  });

  it("is found by an argument that only it has, not by part of one", async () => {
    // Without children: before it is another program, a child has its parent's arguments.
    const identity = await start("echo ready; read line", `/nowhere/${process.pid}/only.cfg`);
    assert.deepEqual(processesWithArgument(`/nowhere/${process.pid}/only.cfg`), [identity]);
    assert.deepEqual(processesWithArgument(`/nowhere/${process.pid}/only`), []);
  });

  it("is named as the holder of its port", async () => {
    await start("true");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    assert.match(portHolder(port) ?? "", new RegExp(`\\(pid ${process.pid}\\)$`));
    await new Promise((resolve) => server.close(resolve));
    assert.equal(portHolder(port), undefined);
  });
});
