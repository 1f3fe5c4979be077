import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Outcome } from "../../rollout/events";
import { type VerifiedStep, type VerifyCommands, verify } from "../../rollout/verify";

describe("verify", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-verify-test-"));
    file = join(folder, "service.yaml");
    writeFileSync(file, "name: smallest\nworking_dir: ./code\napplications: [{import_path: 'app:app'}]\n");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** A target in which everything goes well, but for what is given. */
  const target = (changes: Partial<VerifyCommands> = {}) => {
    const done: string[] = [];
    const written: Array<Record<string, unknown>> = [];
    let there = false;
    let traffic: number | null = null;
    const ended = (outcome: Outcome) => ({ outcome, version: "v", url: "http://service" });
    const commands: VerifyCommands = {
      async deploy({ service = {}, canaryPercent }) {
        written.push(service);
        done.push(`deploy ${service.version_name} ${canaryPercent ?? "whole"}`);
        const first = !there;
        there = true;
        traffic = canaryPercent === 50 ? 50 : null;
        return ended(first ? "deployed" : canaryPercent === 50 ? "held" : "completed");
      },
      async rollback() {
        done.push("rollback");
        traffic = null;
        return ended("rolledBack");
      },
      async terminate() {
        done.push("terminate");
        there = false;
        return { outcome: "terminated" };
      },
      outputs: async () =>
        there ? { url: "http://service", queryAuthToken: "token", rollout: undefined, targets: undefined } : undefined,
      ask: async (_url, token) => (token === undefined ? 401 : 404),
      canaryTraffic: async () => traffic,
      ...changes,
    };
    return { commands, done, written };
  };

  it("deploys, holds, completes, rolls back and ends versions that differ in their environment only", async () => {
    const { commands, done, written } = target();
    const steps = await verify({ file }, commands);
    assert.ok(steps.every(({ ok }) => ok));
    assert.deepEqual(done, [
      "deploy verify-1 whole",
      "deploy verify-2 50",
      "deploy verify-2 100",
      "deploy verify-3 50",
      "rollback",
      "terminate",
    ]);
    assert.deepEqual(
      written.map(({ env_vars: variables }) => variables),
      ["verify-1", "verify-2", "verify-2", "verify-3"].map((version) => ({ RAYSHIFT_VERIFY: version })),
    );
    for (const { working_dir: code, name } of written)
      assert.deepEqual([code, name], [join(folder, "code"), "smallest"]);
  });

  it("touches no stack that is there", async () => {
    const { commands, done } = target();
    const outputs = async () => ({ rollout: undefined, targets: undefined });
    await assert.rejects(verify({ file }, { ...commands, outputs }), /there already.*Nothing was changed/s);
    assert.deepEqual(done, []);
  });

  it("ends what it made when a step is not as it should be, and says which", async () => {
    const cases: Array<[RegExp, Partial<VerifyCommands>]> = [
      [/weights: it ended with 40/, { canaryTraffic: async () => 40 }],
      [/requests: a request without the token gets 200/, { ask: async () => 200 }],
      [/rollback: no way back/, { rollback: () => Promise.reject(new Error("no way back")) }],
    ];
    for (const [message, changes] of cases) {
      const { commands, done } = target(changes);
      const steps: VerifiedStep[] = [];
      await assert.rejects(verify({ file, onStep: (step) => steps.push(step) }, commands), message);
      assert.equal(done.at(-1), "terminate");
      assert.deepEqual(steps.filter(({ ok }) => !ok).length, 1);
    }
  });
});
