import assert from "node:assert/strict";
import { missingPackages, whyNoNode } from "../bed/full/debianPackages";

describe("Kubernetes test bed: Debian packages", () => {
  it("are named once each where their programs are not there", () => {
    const missing = missingPackages("/nowhere");
    assert.deepEqual(missing.filter((name) => name === "containerd").length, 1, missing.join());
    assert.ok(missing.includes("debootstrap"), missing.join());
  });

  it("are only looked for by root, who is told so", function () {
    if (process.getuid?.() === 0) this.skip();
    assert.match(String(whyNoNode(["containerd"])), /root/);
  });
});
