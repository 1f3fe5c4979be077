import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakePlugin, pluginPath, pluginVersion } from "./pluginPath";

describe("the plugin of @pulumi/kubernetes in tests", () => {
  const built = "/cache/plugin";
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "rayshift-plugins-"));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const path = (plugin: string) => pluginPath({ PULUMI_HOME: home, PATH: `${fakePlugin}:${built}:/usr/bin` }, plugin);
  const install = (of: string) => mkdirSync(join(home, "plugins", `resource-kubernetes-v${of}`), { recursive: true });

  it("is the one built from source where the release is not installed in this version", () => {
    assert.equal(path(built), `${built}:/usr/bin`);
    install("3.0.0");
    assert.equal(path(built), `${built}:/usr/bin`);
  });

  it("is the release where that is installed, unless the fake's effects are needed", () => {
    install(pluginVersion);
    assert.equal(path(built), "/usr/bin");
    assert.equal(path(fakePlugin), `${fakePlugin}:${built}:/usr/bin`);
  });
});
