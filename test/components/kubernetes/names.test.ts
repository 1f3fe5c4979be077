import assert from "node:assert/strict";
import { groupName, labelValue, rayServiceName } from "../../../components/kubernetes/names";

describe("Kubernetes names", () => {
  it("of the longest service, version and suffix fit a RayService", () => {
    assert.ok(rayServiceName("s".repeat(24), `${"v".repeat(20)}-2`).length <= 47);
  });

  it("of labels keep short text and tell long text apart", () => {
    assert.equal(labelValue("rayshift"), "rayshift");
    const long = "p".repeat(80);
    for (const text of ["project/stack", long, `${long}x`, "-", "/"]) {
      assert.match(labelValue(text), /^[a-z0-9]([-\w.]{0,61}[a-z0-9])?$/i, text);
    }
    assert.notEqual(labelValue(long), labelValue(`${long}x`));
    assert.notEqual(labelValue("a/b"), labelValue("a.b"));
  });

  it("of worker groups are parts of pods' names", () => {
    assert.deepEqual(["g5.2xlarge", "GPU_workers", "...", "a"].map(groupName), [
      "g5-2xlarge",
      "gpu-workers",
      "workers",
      "a",
    ]);
  });
});
