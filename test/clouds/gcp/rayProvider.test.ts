import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bootScripts } from "../../../components/gcp/cluster";
import { spec } from "../../components/builders";
import { settings } from "../../components/gcp/settingsForTests";
import { root } from "../../setup/support";

const CLIENT = "import googleapiclient, pathlib; print(pathlib.Path(googleapiclient.__file__).parent.parent)";

interface Result {
  inserted: Array<{
    path: string;
    query: { sourceInstanceTemplate: string[] };
    body: { name: string; machineType: string; labels: Record<string, string> };
  }>;
  found: string[];
  deleted: string[];
  errors: string[];
}

/** Ray's own code; nothing of a cluster is started. It needs Google's client, which Ray's images have. */
describe("Ray's provider for Google Cloud, with the config of a head's startup script", function () {
  this.timeout(120_000);
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-provider-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("launches machines from the group's template, knows them again, and deletes them", () => {
    const { RAYSHIFT_PYTHON: ray = "python3", RAYSHIFT_CLOUDS_PYTHON: clouds = "python3" } = process.env;
    const client = spawnSync(clouds, ["-c", CLIENT], { encoding: "utf8" }).stdout.trim();
    const compute = {
      head_node: { instance_type: "n2-standard-8" },
      worker_nodes: [{ name: "gpu", instance_type: "g2-standard-4", max_nodes: 3 }],
    };
    const version = {
      ...{ name: "v1", spec: spec({ compute_config: compute }), digest: "" },
      ...{ cluster: "v1", capacity: null, traffic: 100 },
    };
    const { head } = bootScripts({ service: "sample-service", stack: "rayshift/dev" }, settings(), version, 60);
    const [, config = ""] = /autoscaling\.json <<'RAYSHIFT_FILE'\n(.*?)\nRAYSHIFT_FILE/s.exec(head) ?? [];
    const file = join(folder, "autoscaling.json");
    writeFileSync(file, config);
    const script = join(root, "test", "clouds", "gcp", "python", "ray_provider.py");
    const { stdout, stderr } = spawnSync(ray, [script, file, client], { encoding: "utf8" });
    const lines = stdout.trim().split("\n");
    assert.match(lines.at(-1) ?? "", /^\{/, stderr);
    const { inserted, found, deleted, errors } = JSON.parse(lines.at(-1) ?? "") as Result;
    assert.deepEqual([found, errors], [["gpu", "gpu"], []]);
    assert.equal(inserted.length, 2);
    const { cluster_name } = JSON.parse(config);
    for (const { path, query, body } of inserted) {
      assert.equal(path, "/compute/v1/projects/my-project/zones/us-central1-a/instances");
      assert.deepEqual(query.sourceInstanceTemplate, [
        `projects/my-project/global/instanceTemplates/${cluster_name}-gpu`,
      ]);
      assert.equal(body.machineType, "zones/us-central1-a/machineTypes/g2-standard-4");
      // By this prefix the head's rights hold.
      assert.match(body.name, /^ray-sample-service-.{1,48}$/);
      for (const value of Object.values(body.labels)) assert.match(value, /^[-_a-z0-9]{1,63}$/);
      assert.equal(body.labels["ray-cluster-name"], cluster_name);
      assert.equal(body.labels["rayshift-service"], "sample-service");
    }
    assert.deepEqual(deleted.sort(), inserted.map(({ body }) => body.name).sort());
  });
});
