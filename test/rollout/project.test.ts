import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { openProject, packageRoot } from "../../rollout/project";

describe("openProject", () => {
  const home = process.env.RAYSHIFT_HOME;
  let folder: string;
  beforeEach(() => {
    delete process.env.RAYSHIFT_HOME;
    folder = realpathSync(mkdtempSync(join(tmpdir(), "rayshift-project-")));
  });
  afterEach(() => {
    if (home !== undefined) process.env.RAYSHIFT_HOME = home;
    rmSync(folder, { recursive: true });
  });

  const write = (path: string, text: string) => {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), text);
  };

  it("is that of the nearest Pulumi.yaml at or above the folder", () => {
    write("Pulumi.yaml", "name: outer");
    write("inner/Pulumi.yaml", "name: inner");
    mkdirSync(join(folder, "inner", "a", "b"), { recursive: true });
    mkdirSync(join(folder, "other"));
    assert.equal(openProject({ folder: join(folder, "inner", "a", "b") }).folder, join(folder, "inner"));
    assert.equal(openProject({ folder: join(folder, "inner") }).name, "inner");
    assert.deepEqual(openProject({ folder: join(folder, "other") }), {
      name: "outer",
      folder,
      stack: "dev",
      configFile: join(folder, "Pulumi.dev.yaml"),
      home: join(folder, ".rayshift"),
    });
    assert.equal(existsSync(join(folder, ".rayshift")), false);
  });

  it("has the config of the stack that is asked for, where the project keeps it", () => {
    write("Pulumi.yaml", "name: own\nstackConfigDir: config");
    const { stack, configFile } = openProject({ folder, stack: "prod" });
    assert.deepEqual([stack, configFile], ["prod", join(folder, "config", "Pulumi.prod.yaml")]);
  });

  it("has its tools where the environment says", () => {
    write("Pulumi.yaml", "name: own");
    process.env.RAYSHIFT_HOME = "/elsewhere";
    assert.equal(openProject({ folder }).home, "/elsewhere");
    delete process.env.RAYSHIFT_HOME;
  });

  describe("in a folder without one", () => {
    it("runs the program and the provider of this package", () => {
      const project = openProject({ folder });
      const own = parse(readFileSync(join(packageRoot, "Pulumi.yaml"), "utf8"));
      const generated = parse(readFileSync(join(project.folder, "Pulumi.yaml"), "utf8"));
      assert.equal(resolve(project.folder, generated.main), join(packageRoot, own.main));
      assert.ok(existsSync(resolve(project.folder, generated.main)));
      const [{ name, path }] = generated.plugins.providers;
      assert.equal(name, "rayserve");
      assert.ok(existsSync(join(resolve(project.folder, path), "pulumi-resource-rayserve")), path);
      assert.deepEqual([generated.name, generated.runtime], [own.name, own.runtime]);
    });

    it("keeps the stack's config in the folder itself, and everything else out of sight", () => {
      const project = openProject({ folder, stack: "prod" });
      assert.equal(project.configFile, join(folder, "Pulumi.prod.yaml"));
      assert.equal(project.home, join(folder, ".rayshift"));
      assert.equal(project.folder, join(folder, ".rayshift", "project"));
      assert.equal(project.name, "rayshift");
      const { stackConfigDir } = parse(readFileSync(join(project.folder, "Pulumi.yaml"), "utf8"));
      assert.equal(resolve(project.folder, stackConfigDir), folder);
      assert.equal(statSync(join(folder, ".rayshift")).mode & 0o77, 0);
    });

    it("is the same project the next time, also after the package moved", () => {
      const first = openProject({ folder });
      writeFileSync(join(first.folder, "Pulumi.yaml"), "name: rayshift\nmain: ../gone\n");
      assert.deepEqual(openProject({ folder }), first);
      assert.notEqual(parse(readFileSync(join(first.folder, "Pulumi.yaml"), "utf8")).main, "../gone");
    });

    it("is never there in part for another command that reads it meanwhile", () => {
      const { folder: generated } = openProject({ folder });
      const file = join(generated, "Pulumi.yaml");
      const { ino } = statSync(file);
      openProject({ folder });
      assert.equal(statSync(file).ino, ino, "it was written again though it was right");
      writeFileSync(file, "name: of another version\n");
      const reading = openSync(file, "r");
      openProject({ folder });
      assert.equal(readFileSync(reading, "utf8"), "name: of another version\n");
      closeSync(reading);
      assert.deepEqual(readdirSync(generated), ["Pulumi.yaml"]);
    });
  });
});
