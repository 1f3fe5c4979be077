import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runtimeDirectory } from "../../components/local/host";
import type { Project } from "../../rollout/project";
import { strayClusters } from "../../rollout/strays";

describe("strayClusters", () => {
  const made: string[] = [];
  const home = mkdtempSync(join(tmpdir(), "rayshift-strays-"));
  const project: Project = { name: "rayshift", folder: home, stack: "dev", configFile: "", home };
  after(() => {
    for (const folder of [...made, home]) rmSync(folder, { recursive: true });
  });

  /** The directory of a cluster as the provider leaves it. */
  function cluster(version: string, stack = "dev"): string {
    const directory = runtimeDirectory({ home, project: "rayshift", stack, part: `cluster-${version}` });
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    made.push(directory);
    writeFileSync(
      join(directory, "cluster.json"),
      JSON.stringify({ inputs: { directory, clusterName: `my-app-${version}` } }),
    );
    return directory;
  }

  const found = (held: string[] = []) => strayClusters(project, held).map(({ directory }) => directory);

  it("are those of the stack that it does not hold, whatever hyphens their names have", () => {
    const [held, plain, hyphens] = [cluster("v1"), cluster("v2"), cluster("v3-rc-1")];
    assert.deepEqual(found([held]).sort(), [plain, hyphens].sort());
  });

  it("are never another stack's, nor what is no cluster's", () => {
    const other = cluster("v4", "prod");
    const strange = runtimeDirectory({ home, project: "rayshift", stack: "dev", part: "cluster-v5" });
    mkdirSync(strange, { recursive: true });
    made.push(strange);
    assert.ok(!found().includes(other));
    assert.ok(!found().includes(strange));
  });
});
