import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../setup/support";
import { pluginPath, pluginVersion } from "./pluginPath";

const fakes = join(root, "test", "fake", "bin");

describe("the plugin of @pulumi/kubernetes in tests", () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "rayshift-plugins-"));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const path = (withEffects?: boolean) => pluginPath({ PULUMI_HOME: home, PATH: `${fakes}:/usr/bin` }, withEffects);
  const install = (of: string) => mkdirSync(join(home, "plugins", `resource-kubernetes-v${of}`), { recursive: true });

  it("is the fake where the real one is not installed in this version", () => {
    assert.equal(path(), `${fakes}:/usr/bin`);
    install("3.0.0");
    assert.equal(path(), `${fakes}:/usr/bin`);
  });

  it("is the real one where that is installed, unless the fake's effects are needed", () => {
    install(pluginVersion);
    assert.equal(path(), "/usr/bin");
    assert.equal(path(true), `${fakes}:/usr/bin`);
  });
});
