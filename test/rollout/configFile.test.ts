import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { InvalidInput } from "../../components/problems";
import { ConfigFile } from "../../rollout/configFile";

const text = `# of the stack
encryptionsalt: v1:abc
config:
  # where it runs
  rayshift:target: local # for now

  rayshift:service:
    # its name
    name: sample-service # kept
    applications:
      - import_path: "app:app"
    env_vars: {LONG: ${"word ".repeat(40)}x}
  # how far
  rayshift:canaryPercent: 10 # the first split
  aws:region: eu-west-1
  # the last word
`;

describe("ConfigFile", () => {
  let folder: string;
  let file: string;
  let config: ConfigFile;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-config-"));
    file = join(folder, "Pulumi.dev.yaml");
    writeFileSync(file, text);
    config = new ConfigFile({ name: "rayshift", folder, stack: "dev", configFile: file, home: folder });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const content = () => readFileSync(file, "utf8");
  const values = () => (parse(content()) as { config: Record<string, unknown> }).config;

  describe("read", () => {
    it("gives the project's values by bare key as the program gets them", () => {
      assert.deepEqual(Object.keys(config.read()), ["target", "service", "canaryPercent"]);
      const { target, canaryPercent, service } = config.read();
      assert.deepEqual([target, canaryPercent], ["local", "10"]);
      assert.deepEqual(JSON.parse(service!).applications, [{ import_path: "app:app" }]);
    });

    it("gives truth values and 0 as text too", () => {
      writeFileSync(file, "config:\n  rayshift:inPlace: true\n  rayshift:canaryPercent: 0\n");
      assert.deepEqual(config.read(), { inPlace: "true", canaryPercent: "0" });
    });

    it("gives nothing for a file that is missing, empty, or without a config", () => {
      for (const empty of ["", "# nothing\n", "config:\n", "config: {}\n", "encryptionsalt: v1:abc\n"]) {
        writeFileSync(file, empty);
        assert.deepEqual(config.read(), {}, JSON.stringify(empty));
      }
      rmSync(file);
      assert.deepEqual(config.read(), {});
      assert.deepEqual(readdirSync(folder), []);
    });
  });

  describe("edit", () => {
    it("changes a value and nothing else: comments, order and long lines stay", () => {
      // One edit that changes nothing but the writer's own style.
      config.edit({ canaryPercent: 11 });
      const before = content();
      for (const comment of text.matchAll(/#.*/g)) assert.ok(before.includes(comment[0]), comment[0]);
      assert.deepEqual(parse(before), {
        ...parse(text),
        config: { ...parse(text).config, "rayshift:canaryPercent": 11 },
      });
      assert.deepEqual(Object.keys(values()), Object.keys(parse(text).config));
      config.edit({ canaryPercent: 20 });
      assert.equal(content(), before.replace("canaryPercent: 11 # the", "canaryPercent: 20 # the"));
      assert.ok(
        content()
          .split("\n")
          .some((line) => line.length > 200),
      );
    });

    it("is undone by the opposite edit, comments after a removed value included", () => {
      config.edit({ canaryPercent: 20 });
      const before = content();
      config.edit({ waypoint: { primary: "v1", canary: "v2", canaryTraffic: 0 }, canaryPercent: 30 });
      config.edit({ waypoint: { primary: "v1", canary: "v2", canaryTraffic: 5 } });
      assert.notEqual(content(), before);
      config.edit({ waypoint: undefined, canaryPercent: 20 });
      assert.equal(content(), before);
    });

    it("removes what is undefined, and minds no key that is not there", () => {
      config.edit({ canaryPercent: undefined, waypoint: undefined });
      assert.deepEqual(Object.keys(values()), ["rayshift:target", "rayshift:service", "aws:region"]);
      assert.equal(values()["aws:region"], "eu-west-1");
    });

    it("writes nested values as YAML mappings, not as JSON text", () => {
      config.edit({ waypoint: { primary: "v1", nested: { list: [1, { a: "b" }] } } });
      assert.deepEqual(values()["rayshift:waypoint"], { primary: "v1", nested: { list: [1, { a: "b" }] } });
      assert.match(content(), /\n {2}rayshift:waypoint:\n {4}primary: v1\n {4}nested:\n {6}list:\n/);
    });

    it("writes block mappings into an empty one", () => {
      writeFileSync(file, "config: {}\n");
      config.edit({ canaryPercent: 0, waypoint: { primary: "v1" } });
      assert.equal(content(), "config:\n  rayshift:canaryPercent: 0\n  rayshift:waypoint:\n    primary: v1\n");
    });

    it("quotes text that YAML 1.1 takes for something else, at every depth", () => {
      config.edit({ waypoint: { startedAt: "2026-01-31T12:00:00.000Z", primary: "yes" }, target: "on" });
      assert.match(content(), /startedAt: ["']2026-01-31T12:00:00\.000Z["']/);
      assert.match(content(), /primary: ["']yes["']/);
      assert.match(content(), /rayshift:target: ["']on["']/);
    });

    it("starts a file that is missing or empty", () => {
      for (const before of [undefined, "", "config:\n"]) {
        if (before === undefined) rmSync(file);
        else writeFileSync(file, before);
        config.edit({ target: "local" });
        assert.equal(content(), "config:\n  rayshift:target: local\n", String(before));
      }
    });

    it("keeps the secrets' salt where there was no config", () => {
      writeFileSync(file, "encryptionsalt: v1:abc\n");
      config.edit({ target: "local" });
      assert.deepEqual(parse(content()), { encryptionsalt: "v1:abc", config: { "rayshift:target": "local" } });
    });

    it("does not write when nothing changes, whatever the file's style", () => {
      const before = statSync(file, { bigint: true });
      config.edit({});
      config.edit({ target: "local", canaryPercent: 10, waypoint: undefined });
      config.edit({ service: (values() as { "rayshift:service": object })["rayshift:service"] });
      const after = statSync(file, { bigint: true });
      assert.deepEqual([after.mtimeNs, after.ino], [before.mtimeNs, before.ino]);
      assert.equal(content(), text);
    });

    it("replaces the file whole, leaves nothing beside it, and keeps who may read it", () => {
      chmodSync(file, 0o600);
      const { ino } = statSync(file);
      config.edit({ target: "aws" });
      assert.notEqual(statSync(file).ino, ino);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.deepEqual(readdirSync(folder), ["Pulumi.dev.yaml"]);
    });

    it("leaves the file as it was when it cannot be written", () => {
      mkdirSync(`${file}.tmp`);
      assert.throws(() => config.edit({ target: "aws" }), /EISDIR/);
      assert.equal(content(), text);
    });
  });

  it("refuses a broken file by its name, and leaves it as it is", () => {
    for (const broken of ["config:\n  a: 1\n  a: 2\n", "- a\n", "config: text\n", "config: [\n"]) {
      writeFileSync(file, broken);
      for (const run of [() => config.edit({ target: "local" }), () => config.read()]) {
        assert.throws(run, (error) => {
          assert.ok(InvalidInput.isInstance(error), String(error));
          assert.equal(error.problems[0]!.path, file);
          return true;
        });
      }
      assert.equal(content(), broken);
    }
  });
});
