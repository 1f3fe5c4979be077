import assert from "node:assert/strict";
import { instanceTypes, resourcesOf } from "../../components/instanceTypes";
import { InvalidInput } from "../../components/problems";

describe("instanceTypes", () => {
  for (const [name, cpus, memoryGiB, gpus, acceleratorType] of [
    ["m5.2xlarge", 8, 32, 0, undefined],
    ["c5.9xlarge", 36, 72, 0, undefined],
    ["r5.large", 2, 16, 0, undefined],
    ["t3.micro", 2, 1, 0, undefined],
    ["g4dn.12xlarge", 48, 192, 4, "T4"],
    ["g5.xlarge", 4, 16, 1, "A10G"],
    ["g6.48xlarge", 192, 768, 8, "L4"],
    ["g6e.12xlarge", 48, 384, 4, "L40S"],
    ["p3.16xlarge", 64, 488, 8, "V100"],
    ["p4d.24xlarge", 96, 1152, 8, "A100"],
    ["p4de.24xlarge", 96, 1152, 8, "A100-80G"],
    ["p5.48xlarge", 192, 2048, 8, "H100"],
    ["m8i.96xlarge", 384, 1536, 0, undefined],
    ["r7i.2xlarge", 8, 64, 0, undefined],
    ["gr6.4xlarge", 16, 128, 1, "L4"],
    ["p5.4xlarge", 16, 256, 1, "H100"],
    ["p6-b200.48xlarge", 192, 2048, 8, "B200"],
    ["n1-standard-4", 4, 15, 0, undefined],
    ["n2-highmem-4", 4, 32, 0, undefined],
    ["n2-standard-8", 8, 32, 0, undefined],
    ["g2-standard-24", 24, 96, 2, "L4"],
    ["a2-highgpu-8g", 96, 680, 8, "A100"],
    ["a2-ultragpu-1g", 12, 170, 1, "A100-80G"],
    ["a2-megagpu-16g", 96, 1360, 16, "A100"],
    ["a3-highgpu-8g", 208, 1872, 8, "H100"],
    ["a3-highgpu-1g", 26, 234, 1, "H100"],
    ["a3-ultragpu-8g", 224, 2952, 8, "H200"],
  ] as const) {
    it(`knows ${name}`, () => {
      assert.deepEqual(instanceTypes.get(name), {
        cpus,
        memoryGiB,
        gpus,
        ...(acceleratorType ? { acceleratorType } : {}),
      });
    });
  }
});

describe("every instance type", () => {
  it("has a GPU of a kind that Ray knows by name, or none at all", () => {
    for (const [name, { cpus, memoryGiB, gpus, acceleratorType }] of instanceTypes) {
      assert.ok(cpus >= 1 && memoryGiB > 0, name);
      assert.equal(gpus > 0, acceleratorType !== undefined, name);
    }
  });

  it("is of one cloud by its name: AWS has a dot in it, Google Cloud hyphens only", () => {
    for (const name of instanceTypes.keys()) {
      assert.match(name, /^([a-z0-9-]+\.[a-z0-9]+|[a-z]\d[a-z]*-[a-z]+-\d+g?)$/, name);
    }
  });
});

describe("resourcesOf", () => {
  it("takes a node for what its instance type has", () => {
    assert.deepEqual(resourcesOf({ instance_type: "g5.xlarge" }), {
      cpus: 4,
      gpus: 1,
      memoryGiB: 16,
      acceleratorType: "A10G",
      resources: {},
    });
  });

  it("lets explicit resources win, one by one", () => {
    assert.deepEqual(resourcesOf({ instance_type: "m5.2xlarge", resources: { CPU: 0, memory: 2 ** 30, licence: 2 } }), {
      cpus: 0,
      gpus: 0,
      memoryGiB: 1,
      resources: { licence: 2 },
    });
    assert.equal(resourcesOf({ instance_type: "g5.xlarge", resources: { GPU: 0 } }).acceleratorType, undefined);
  });

  it("needs no instance type when the resources are given", () => {
    assert.deepEqual(resourcesOf({ resources: { CPU: 2, GPU: 1 } }), { cpus: 2, gpus: 1, resources: {} });
    assert.equal(resourcesOf({ instance_type: "x9.huge", resources: { CPU: 2 } }).cpus, 2);
  });

  for (const [node, expected] of [
    [{ instance_type: "g5.xlage" }, /instance_type: "g5.xlage" is not .*did you mean `g5.xlarge`\?.*`resources`/],
    [{ instance_type: "g2-standard-5" }, /instance_type: "g2-standard-5" is not .*did you mean `g2-standard-\d+`\?/],
    [{ instance_type: "Standard_NC24ads_A100_v4" }, /instance_type: .* See that it is the cloud's own name/],
    [{ resources: { GPU: 1 } }, /resources: has no `CPU`/],
    [{}, /neither an `instance_type` nor `resources`/],
  ] as const) {
    it(`refuses ${JSON.stringify(node)} with a remedy`, () => {
      assert.throws(
        () => resourcesOf(node),
        (error) => InvalidInput.isInstance(error) && expected.test(error.message),
      );
    });
  }
});
