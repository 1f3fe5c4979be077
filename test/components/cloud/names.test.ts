import assert from "node:assert/strict";
import { clusterName, namePart, serviceName } from "../../../components/cloud/names";

describe("names in a cloud", () => {
  const longest = ["s".repeat(24), `${"v".repeat(20)}-2`] as const;

  it("of clusters fit their limit and are what AWS and GCP take, whatever is cut", () => {
    for (const limit of [32, 35, 52]) {
      for (const [service, cluster] of [longest, ["a", "1"], ["sample-service", "v1"]] as const) {
        const name = clusterName(service, cluster, "rayshift/dev", limit);
        assert.match(name, /^[a-z]([-a-z0-9]*[a-z0-9])$/);
        assert.ok(name.length <= limit, name);
        assert.doesNotMatch(name, /--/);
      }
    }
  });

  it("tell versions, services and stacks apart, also where they were cut", () => {
    const names = [
      clusterName(...longest, "rayshift/dev", 32),
      clusterName(longest[0], `${longest[1]}3`, "rayshift/dev", 32),
      clusterName(...longest, "rayshift/production", 32),
      clusterName("a", "b-c", "rayshift/dev", 32),
      clusterName("a-b", "c", "rayshift/dev2", 32),
      serviceName("a", "rayshift/dev", 32),
      serviceName("a", "rayshift/production", 32),
    ];
    assert.equal(new Set(names).size, names.length, names.join());
  });

  it("stay the same", () => {
    assert.equal(clusterName("sample-service", "v1", "rayshift/dev", 52), "sample-service-v1-d83bbd");
  });

  it("of worker groups are parts of names", () => {
    assert.deepEqual(["g5.2xlarge", "GPU_workers", "..."].map(namePart), ["g5-2xlarge", "gpu-workers", "workers"]);
  });
});
