import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../setup/support";

const python = process.env.RAYSHIFT_PYTHON ?? "python3";

describe("the worker nodes of a local cluster, asked for by two launches at one time", function () {
  this.timeout(120_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-launches-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  function launches(wanted: number): unknown {
    const script = join(root, "test", "provider", "local", "launches.py");
    const env = { ...process.env, PYTHONPATH: join(root, "provider", "local", "python"), RAY_FAKE_CLUSTER: "1" };
    const output = execFileSync(python, [script, folder, String(wanted)], { env, encoding: "utf8" });
    return JSON.parse(output.trim().split("\n").at(-1)!);
  }

  it("are not one more than replicas need, though the first launch has started one of its two only", () => {
    const second = "3 nodes would be more than what runs and waits needs";
    assert.deepEqual(launches(2), { known: 2, second, running: 2 });
  });

  it("are all started when the replicas need them", () => {
    assert.deepEqual(launches(3), { known: 2, second: "started", running: 3 });
  });
});
