import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { serviceFromStackConfig } from "../../components/program";
import type { RolloutRecord } from "../../components/record";
import { rollingOut, running, v1, v2, v3 } from "./builders";
import { addressOf, customNames, type MockedStack, named, registering, resolved, useTools } from "./mockedEngine";

const targets = {
  clusters: { v1: addressOf("cluster-v1"), v2: addressOf("cluster-v2") },
  loadBalancer: { adminSocket: "/a" },
};

describe("the program", () => {
  useTools();
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-program-"));
    writeFileSync(join(folder, "Pulumi.yaml"), "name: rayshift");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const stackOf = (config: Record<string, unknown>, stack: MockedStack = {}): MockedStack => ({
    folder,
    config: Object.fromEntries(
      Object.entries(config).map(([key, value]) => [
        `${stack.project ?? "rayshift"}:${key}`,
        typeof value === "string" ? value : JSON.stringify(value),
      ]),
    ),
    ...stack,
  });

  const run = (config: Record<string, unknown>, stack?: MockedStack) =>
    registering(stackOf(config, stack), serviceFromStackConfig);

  /** The message of the RunError, and proof that nothing of the service was registered. */
  const refusal = async (config: Record<string, unknown>, stack?: MockedStack): Promise<string> => {
    const { result, resources } = await registering(stackOf(config, stack), () =>
      serviceFromStackConfig().then(
        () => assert.fail("nothing was refused"),
        (error) => {
          assert.ok(pulumi.RunError.isInstance(error), String(error));
          return error.message;
        },
      ),
    );
    assert.deepEqual(resources, []);
    return result;
  };

  describe("with a config that is not valid", () => {
    it("ends with one message that lists all problems of config and service, without a stack trace", async () => {
      const message = await refusal({
        service: { name: "Sample", applications: [{ import_path: "app" }] },
        canaryPercent: "101",
        maxSurgePercent: "0",
        canaryPrecent: "1",
      });
      const [first, ...problems] = message.split("\n");
      assert.equal(first, "invalid stack config, 5 problems; nothing was changed:");
      const paths = problems.map((line) => line.match(/^ {2}- ([^ ]+?): /)?.[1]).sort();
      assert.deepEqual(paths, [
        "rayshift:canaryPercent",
        "rayshift:canaryPrecent",
        "rayshift:maxSurgePercent",
        "rayshift:service.applications[0].import_path",
        "rayshift:service.name",
      ]);
    });

    it("says how to give a service when there is none", async () => {
      assert.match(await refusal({}), /rayshift:service: .*rayshift deploy -f service\.yaml/);
    });

    it("refuses a target that there is not", async () => {
      assert.match(
        await refusal({ service: v1.spec, target: "azure" }),
        /rayshift:target: "azure" must be one of local/,
      );
    });

    it("refuses a working directory that is not there", async () => {
      const service = { ...v1.spec, working_dir: "./nowhere" };
      assert.match(await refusal({ service }), /working_dir: .*nowhere" is not a folder/);
    });

    it("refuses an unsafe update with the words of the refusal", async () => {
      const message = await refusal(
        { service: v2.spec, maxSurgePercent: 50 },
        { outputs: { rollout: running, targets } },
      );
      assert.match(message, /`rayshift deploy`.*Nothing was changed\.$/);
    });

    it("refuses to put what runs on another target", async () => {
      const service = { name: v1.spec.name, applications: v1.spec.applications, image_uri: "ray:2.60.0" };
      const elsewhere = { service, target: "kubernetes", kubernetes: { gateway: { name: "edge" } } };
      const message = await refusal(elsewhere, { outputs: { rollout: running, targets } });
      assert.match(message, /rayshift:target: "kubernetes" is not where the service runs \(local\)/);
    });

    it("names the command that sets missing tools up", async () => {
      process.env.RAYSHIFT_HOME = folder;
      delete process.env.RAYSHIFT_PYTHON;
      assert.match(await refusal({ service: v1.spec }), /^Ray not set up .*rayshift setup/);
    });

    it("keeps other errors as they are, for their stack trace", async () => {
      await assert.rejects(run({ service: v1.spec }, { outputs: { rollout: { phase: "?" } } }), (error) => {
        assert.ok(!pulumi.RunError.isInstance(error));
        return true;
      });
    });
  });

  describe("on a new stack", () => {
    it("deploys the primary alone and exports what the next update goes on from", async () => {
      const { result, resources } = await run({ service: v1.spec });
      assert.deepEqual(Object.keys(result).sort(), ["queryAuthToken", "rollout", "targets", "url"]);
      assert.deepEqual(customNames(resources), ["applications-v1", "cluster-v1", "load-balancer", "query-token"]);
      const rollout = result.rollout as RolloutRecord;
      assert.deepEqual([rollout.phase, rollout.primary.name, rollout.canary], ["RUNNING", "v1", undefined]);
      const { written, ...primary } = rollout.primary;
      assert.deepEqual(JSON.parse(JSON.stringify({ ...rollout, primary })), JSON.parse(JSON.stringify(running)));
      assert.deepEqual(written, JSON.parse(JSON.stringify(v1.spec)), "as the config has it");
      assert.deepEqual((await resolved(result.targets)).value.clusters, { v1: addressOf("cluster-v1") });
      assert.equal((await resolved(result.url)).value, "http://127.0.0.1:8000");
      assert.equal((await resolved(result.queryAuthToken!)).secret, true);
    });

    it("takes a relative working directory from the folder of Pulumi.yaml", async () => {
      mkdirSync(join(folder, "code"));
      writeFileSync(join(folder, "code", "app.py"), "app = 1");
      const { resources } = await run({ service: { ...v1.spec, working_dir: "./code" } });
      const found = resources.find(({ type }) => type === "rayserve:local:Package");
      assert.equal(found?.inputs.source, join(folder, "code"));
    });

    it("takes the pinned content of a working directory, whatever is there now", async () => {
      const workingDirDigest = "b".repeat(64);
      const { resources } = await run({ service: { ...v1.spec, working_dir: "./code" }, workingDirDigest });
      assert.equal(resources.find(({ type }) => type === "rayserve:local:Package")?.inputs.digest, workingDirDigest);
    });

    it("reads the config of a project that has another name", async () => {
      const { resources } = await run({ service: v1.spec }, { project: "own" });
      assert.ok(customNames(resources).includes("cluster-v1"));
    });
  });

  describe("on a stack with a record", () => {
    it("changes nothing for the recorded service", async () => {
      const { result } = await run({ service: v1.spec }, { outputs: { rollout: running, targets } });
      assert.deepEqual(JSON.parse(JSON.stringify(result.rollout)), running);
    });

    it("goes on with a rollout: the split, the guards against the recorded clusters", async () => {
      const stack = { outputs: { rollout: rollingOut([50, 50, 50], 50), targets } };
      const held = await run({ service: v2.spec, canaryPercent: 60 }, stack);
      assert.equal((held.result.rollout as RolloutRecord).canary?.traffic, 60);
      const done = await run({ service: v2.spec }, stack);
      const surge = named(done.resources, "applications-v2").inputs.surge as { peer: object; maxTotalCapacity: number };
      assert.deepEqual(surge, { peer: addressOf("cluster-v1"), maxTotalCapacity: 150, idleTimeoutSeconds: 60 });
    });

    it("reads a record that is a secret", async () => {
      const stack = { outputs: { rollout: rollingOut([100, 100, 10]), targets }, secretOutputNames: ["rollout"] };
      const { result } = await run({ service: v1.spec }, stack);
      assert.equal((result.rollout as RolloutRecord).phase, "RUNNING");
      await assert.rejects(run({ service: v3.spec }, stack), /version v3 is wanted while version v2 rolls out over v1/);
    });
  });

  describe("with a service that is a secret of the stack", () => {
    it("keeps record and Serve config secret", async () => {
      const stack = { secretConfig: ["rayshift:service"] };
      const { result, resources } = await run({ service: v1.spec }, stack);
      const { value, secret } = await resolved(pulumi.output(result.rollout));
      assert.deepEqual([value.primary.name, secret], ["v1", true]);
      assert.deepEqual(named(resources, "applications-v1").secrets, ["config"]);
    });
  });
});
