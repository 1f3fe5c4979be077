import assert from "node:assert/strict";
import { existsSync, readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { openProject } from "../../rollout/project";
import { PulumiCli } from "../../rollout/pulumi";
import { Stack } from "../../rollout/stack";
import { RealPulumi } from "./realPulumi";

describe("a state whose attributes a killed engine left empty", function () {
  this.timeout(60_000);
  let pulumi: RealPulumi;
  let stack: Stack;

  before(async () => {
    pulumi = new RealPulumi();
    await pulumi.run(["stack", "init"]);
    await pulumi.run(["up", "--yes", "--skip-preview"]);
    stack = new Stack(new PulumiCli(openProject({ folder: pulumi.folder }), process.env));
  });
  after(() => pulumi.remove());

  const attributesIn = (...path: string[]) => {
    const folder = join(pulumi.folder, "state", ".pulumi", ...path);
    return readdirSync(folder)
      .filter((name) => name.endsWith(".attrs"))
      .map((name) => join(folder, name));
  };

  for (const [what, path] of [
    ["checkpoint", ["stacks", "rayshift"]],
    ["history", ["history", "rayshift", "dev"]],
  ] as const) {
    it(`is read and updated all the same: those of its ${what}`, async () => {
      const files = attributesIn(...path);
      assert.notEqual(files.length, 0);
      for (const file of files) truncateSync(file);
      await assert.rejects(pulumi.run(["stack", what === "history" ? "history" : "export"]), /EOF/);
      assert.notEqual(await stack.outputs(), undefined);
      assert.equal((await stack.history({ page: 1, pageSize: 10 })).length >= 1, true);
      for (const file of files) assert.ok(!existsSync(file));
      await stack.update({ message: "goes on" });
    });
  }
});
