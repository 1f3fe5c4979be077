import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { niceOfSession, serveAtFullPriority, setPriority } from "../../../provider/local/priority";
import { identify } from "../../../provider/local/process";

/** Autogroups are an option of the kernel's; without them there is nothing to see. */
const withAutogroups = niceOfSession(process.pid) === undefined ? it.skip : it;

describe("a cluster's priority", () => {
  let leader: ChildProcess;
  let directory: string;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "priority-"));
    leader = spawn("sleep", ["60"], { detached: true, stdio: "ignore" });
    await once(leader, "spawn");
  });
  afterEach(async () => {
    leader.kill();
    await once(leader, "exit");
    rmSync(directory, { recursive: true, force: true });
  });

  withAutogroups("is lower while it starts, and full from its first traffic on", () => {
    const pid = leader.pid as number;
    setPriority(pid, "starting");
    assert.equal(niceOfSession(pid), 3);
    writeFileSync(join(directory, "cluster.json"), JSON.stringify({ head: identify(pid) }));
    serveAtFullPriority(join(directory, "token"));
    assert.equal(niceOfSession(pid), 0);
  });

  withAutogroups("is left alone when the record's process is another one by now", () => {
    const pid = leader.pid as number;
    setPriority(pid, "starting");
    writeFileSync(join(directory, "cluster.json"), JSON.stringify({ head: { pid, startTime: "another" } }));
    serveAtFullPriority(join(directory, "token"));
    assert.equal(niceOfSession(pid), 3);
  });

  it("is nobody's business where there is no cluster on this host", () => {
    serveAtFullPriority(undefined);
    serveAtFullPriority(join(directory, "token"));
    setPriority(-1, "serving");
  });
});
