import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidInput } from "../../components/problems";
import { readServiceFile, sourceOf } from "../../rollout/source";

const service = { name: "sample-service", applications: [{ import_path: "app:app" }] };

describe("readServiceFile", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-source-"));
    mkdirSync(join(folder, "services"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const file = (text: string) => {
    const path = join(folder, "services", "service.yaml");
    writeFileSync(path, text);
    return path;
  };
  const yaml = (workingDir: string) =>
    `name: sample-service\napplications:\n  - import_path: "app:app"\nworking_dir: ${workingDir}\n`;
  const problemsOf = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      assert.ok(InvalidInput.isInstance(error), String(error));
      return error.problems;
    }
    return assert.fail("nothing was refused");
  };

  it("keeps the service as it was written, and gives it checked with the defaults", () => {
    const { spec, written, notices } = readServiceFile(
      file('name: a\napplications: [{import_path: "app:app"}]'),
      folder,
    );
    assert.deepEqual(written, { name: "a", applications: [{ import_path: "app:app" }] });
    assert.deepEqual([spec.applications[0]!.route_prefix, spec.query_auth_token_enabled], ["/", true]);
    assert.deepEqual(notices, []);
  });

  it("takes paths from the file's folder to the project's", () => {
    const cases = { "./code": "./services/code", ".": "./services", "../code": "./code", "../../code": "../code" };
    for (const [given, expected] of Object.entries(cases)) {
      const { spec, written } = readServiceFile(file(yaml(given)), folder);
      assert.deepEqual([spec.working_dir, written.working_dir], [expected, expected], given);
    }
  });

  it("takes the same folder whatever the form of the path", () => {
    const path = file(yaml(join(folder, "services", "code")));
    assert.equal(readServiceFile(path, folder).written.working_dir, "./services/code");
    assert.equal(readServiceFile(file(yaml("..")), folder).written.working_dir, "./");
  });

  it("leaves a remote working directory alone", () => {
    const { written } = readServiceFile(file(yaml("s3://bucket/code.zip")), folder);
    assert.equal(written.working_dir, "s3://bucket/code.zip");
  });

  it("names a file that is not there, and one that cannot be read", () => {
    const [missing] = problemsOf(() => readServiceFile(join(folder, "no.yaml"), folder));
    assert.deepEqual(
      [missing!.path, missing!.value, missing!.rule],
      ["--file", join(folder, "no.yaml"), "is not there"],
    );
    const [unreadable] = problemsOf(() => readServiceFile(folder, folder));
    assert.match(unreadable!.rule, /^cannot be read: EISDIR/);
  });

  it("reports every error of the YAML with its place", () => {
    const path = file("name: a\nname: b\napplications: [\n");
    const problems = problemsOf(() => readServiceFile(path, folder));
    assert.ok(problems.length >= 2, JSON.stringify(problems));
    for (const problem of problems) {
      assert.equal(problem.path, path);
      assert.match(problem.rule, /line \d+/);
    }
  });

  it("reports every problem of the service, and an empty file as one", () => {
    const problems = problemsOf(() => readServiceFile(file("name: A\napplications: []\n"), folder));
    assert.deepEqual(
      problems.map(({ path }) => path),
      ["name", "applications"],
    );
    assert.equal(problemsOf(() => readServiceFile(file(""), folder)).length, 1);
  });

  it("passes on what is ignored", () => {
    const { notices } = readServiceFile(file(`cloud: x\n${yaml(".")}`), folder);
    assert.match(notices.join(), /^cloud is ignored/);
  });
});

describe("sourceOf", () => {
  it("does not change the value that it is given", () => {
    const value = { ...service, working_dir: "./code" };
    const { written } = sourceOf(value, "/project/services", "/project");
    assert.equal(written.working_dir, "./services/code");
    assert.equal(value.working_dir, "./code");
  });

  it("has no working directory where there is none", () => {
    const { spec, written } = sourceOf(service, "/project", "/project");
    assert.equal("working_dir" in written, false);
    assert.equal("working_dir" in spec, false);
  });

  it("gives back what it wrote when it reads it again", () => {
    const once = sourceOf({ ...service, working_dir: "../code" }, "/project/services", "/project");
    assert.deepEqual(sourceOf(once.written, "/project", "/project"), once);
  });
});
