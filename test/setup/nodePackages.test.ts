import assert from "node:assert/strict";
import { importSetup, temporaryFolder } from "./support";

interface NodePackages {
  matchesLock(lock: string, installed: string): boolean;
  nodePackages: { inPlace(context: { root: string }): Promise<{ detail: string } | undefined> };
}

const packages = (entries: Record<string, object>) => JSON.stringify({ packages: entries });

describe("setup: Node packages", () => {
  const folder = temporaryFolder();
  let module: NodePackages;
  before(async () => {
    module = await importSetup<NodePackages>("nodePackages.mjs");
  });

  const lock = packages({
    "": { name: "project" },
    "node_modules/a": { version: "1.0.0", integrity: "x" },
    "node_modules/mac": { version: "2.0.0", integrity: "y", optional: true },
  });

  it("reuses what npm installed from this lock file, without the optional packages of other systems", () => {
    assert.equal(module.matchesLock(lock, packages({ "node_modules/a": { version: "1.0.0", integrity: "x" } })), true);
  });

  it("installs again when a version, a checksum or a package differs", () => {
    const a = { version: "1.0.0", integrity: "x" };
    const others = [
      { "node_modules/a": { ...a, version: "1.0.1" } },
      { "node_modules/a": { ...a, integrity: "z" } },
      { "node_modules/a": a, "node_modules/b": a },
      { "node_modules/mac": { version: "2.0.0", integrity: "y" } },
      {},
    ];
    for (const other of others) assert.equal(module.matchesLock(lock, packages(other)), false, JSON.stringify(other));
  });

  it("installs where there is no complete record of an install", () => {
    assert.equal(module.matchesLock(lock, ""), false);
    assert.equal(module.matchesLock(lock, lock.slice(0, -5)), false);
  });

  it("leaves a package without a lock file to the npm of the project it is installed in", async () => {
    assert.match((await module.nodePackages.inPlace({ root: folder() }))!.detail, /with this package/);
  });
});
