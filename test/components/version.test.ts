import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { InvalidInput } from "../../components/problems";
import { parseServiceSpec, type ServiceSpec } from "../../components/serviceSpec";
import {
  describeVersion,
  differsOnlyInApplications,
  digestDirectory,
  sourceFiles,
  specDigest,
  versionName,
} from "../../components/version";

function spec(changes: object = {}): ServiceSpec {
  return parseServiceSpec({ name: "sample-service", applications: [{ import_path: "app:app" }], ...changes }).spec;
}

describe("version", () => {
  let base: string;
  let folder: string;

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), "version-"));
    folder = join(base, "code");
    await write("app.py", "app = 1\n");
    await write("models/small.bin", "weights");
  });

  afterEach(() => rm(base, { recursive: true }));

  async function write(path: string, content: string): Promise<void> {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }

  const paths = async (excludes: string[] = []) => (await sourceFiles(folder, excludes)).map(({ path }) => path);

  describe("sourceFiles", () => {
    it("lists files sorted by path", async () => {
      await write("a.txt", "");
      assert.deepEqual(await paths(), ["a.txt", "app.py", "models/small.bin"]);
    });

    it("leaves out what is never part of a version, at every depth", async () => {
      for (const path of [".git/HEAD", "lib/__pycache__/x.txt", "node_modules/x/y.js", "lib/old.pyc"])
        await write(path, "x");
      assert.deepEqual(await paths(), ["app.py", "models/small.bin"]);
    });

    for (const [glob, left] of [
      ["*.bin", ["app.py", "deep/app.py", "deep/models/notes.md"]],
      ["models", ["app.py", "deep/app.py"]],
      ["models/", ["app.py", "deep/app.py"]],
      ["/models", ["app.py", "deep/app.py", "deep/models/notes.md"]],
      ["./app.py", ["deep/app.py", "deep/models/notes.md", "models/small.bin"]],
      ["**/models/*.md", ["app.py", "deep/app.py", "models/small.bin"]],
      ["deep/**", ["app.py", "models/small.bin"]],
      ["[am]pp.py", ["deep/models/notes.md", "models/small.bin"]],
      ["?pp.py", ["deep/models/notes.md", "models/small.bin"]],
      ["app.p", ["app.py", "deep/app.py", "deep/models/notes.md", "models/small.bin"]],
      ["appxpy", ["app.py", "deep/app.py", "deep/models/notes.md", "models/small.bin"]],
    ] as const) {
      it(`takes the exclude ${glob} as .gitignore would`, async () => {
        await write("deep/app.py", "");
        await write("deep/models/notes.md", "");
        assert.deepEqual(await paths([glob]), left);
      });
    }

    it("reads links within the folder", async () => {
      await symlink("app.py", join(folder, "main.py"));
      await symlink("models", join(folder, "weights"));
      assert.deepEqual(await paths(), ["app.py", "main.py", "models/small.bin", "weights/small.bin"]);
    });

    it("refuses links out of the folder, to nothing and in a circle, unless excluded", async () => {
      await writeFile(join(base, "secret"), "x");
      await symlink("../secret", join(folder, "out"));
      await symlink("nowhere", join(folder, "gone"));
      await symlink("..", join(folder, "models/circle"));
      await assert.rejects(paths(), (error) => {
        assert.ok(InvalidInput.isInstance(error));
        assert.deepEqual(error.problems.map(({ path }) => path).sort(), [
          "working_dir/gone",
          "working_dir/models/circle",
          "working_dir/out",
        ]);
        return true;
      });
      assert.deepEqual(await paths(["out", "gone", "circle"]), ["app.py", "models/small.bin"]);
    });

    it("says so when there is no such folder", async () => {
      await assert.rejects(
        sourceFiles(join(base, "nowhere")),
        /working_dir: ".*nowhere" is not a folder on this machine/,
      );
    });
  });

  describe("digestDirectory", () => {
    it("is the same for the same files elsewhere and at another time", async () => {
      const before = await digestDirectory(folder);
      assert.match(before, /^[0-9a-f]{64}$/);
      await utimes(join(folder, "app.py"), 1, 1);
      assert.equal(await digestDirectory(folder), before);
    });

    for (const [change, make] of [
      ["content", () => write("app.py", "app = 2\n")],
      ["a new file", () => write("b.py", "")],
      ["an executable bit", () => chmod(join(folder, "app.py"), 0o755)],
      ["a name", () => rm(join(folder, "app.py")).then(() => write("main.py", "app = 1\n"))],
    ] as const) {
      it(`changes with ${change}`, async () => {
        const before = await digestDirectory(folder);
        await make();
        assert.notEqual(await digestDirectory(folder), before);
      });
    }

    it("does not change with an excluded file", async () => {
      const before = await digestDirectory(folder, ["*.log"]);
      await write("run.log", "x");
      assert.equal(await digestDirectory(folder, ["*.log"]), before);
    });
  });

  describe("describeVersion", () => {
    it("resolves the working directory and names the version after spec and content", async () => {
      const wanted = spec({ working_dir: "code", excludes: ["*.bin"] });
      const first = await describeVersion(wanted, base);
      assert.deepEqual(first.workingDirectory, {
        source: folder,
        digest: await digestDirectory(folder, ["*.bin"]),
        excludes: ["*.bin"],
      });
      assert.equal(first.name, first.digest.slice(0, 8));
      await write("app.py", "app = 2\n");
      assert.notEqual((await describeVersion(wanted, base)).name, first.name);
    });

    it("leaves a remote working directory to Ray", async () => {
      const { workingDirectory } = await describeVersion(spec({ working_dir: "s3://bucket/code.zip" }), base);
      assert.equal(workingDirectory, undefined);
    });
  });
});

describe("versionName", () => {
  it("is the version_name of the spec when there is one", () =>
    assert.equal(versionName(spec({ version_name: "v2" })), "v2"));

  it("is 8 hex digits of the spec's digest otherwise", () => {
    assert.match(versionName(spec()), /^[0-9a-f]{8}$/);
    assert.ok(specDigest(spec(), "d").startsWith(versionName(spec(), "d")));
  });
});

describe("specDigest", () => {
  it("does not depend on the order of keys, on defaults that are written out, or on names", () => {
    const one = spec({ env_vars: { A: "1", B: "2" }, version_name: "v1" });
    const other = spec({
      applications: [{ route_prefix: "/", name: "default", import_path: "app:app" }],
      env_vars: { B: "2", A: "1" },
      name: "renamed",
    });
    assert.equal(specDigest(one), specDigest(other));
  });

  it("depends on what the working directory holds and not on where it is", () => {
    assert.equal(specDigest(spec({ working_dir: "a" }), "d"), specDigest(spec({ working_dir: "b" }), "d"));
    assert.notEqual(specDigest(spec({ working_dir: "a" }), "d"), specDigest(spec({ working_dir: "a" }), "e"));
  });

  it("tells another spec under the same version_name", () => {
    const [one, other] = ["1", "2"].map((A) => spec({ version_name: "v1", env_vars: { A } }));
    assert.notEqual(specDigest(one!), specDigest(other!));
  });
});

describe("differsOnlyInApplications", () => {
  it("names nothing when applications and version_name changed", () => {
    const after = spec({ version_name: "v2", applications: [{ import_path: "other:app" }] });
    assert.deepEqual(differsOnlyInApplications({ spec: spec() }, { spec: after }), []);
  });

  it("names all other keys that changed, came or went", () => {
    const before = spec({ env_vars: { A: "1" }, tags: { a: "b" } });
    const after = spec({ env_vars: { A: "2" }, image_uri: "a/b:1" });
    assert.deepEqual(differsOnlyInApplications({ spec: before }, { spec: after }), ["env_vars", "image_uri", "tags"]);
  });

  it("compares the content of working directories and not their places", () => {
    const at = (working_dir: string, digest: string) => ({ spec: spec({ working_dir }), workingDirectory: { digest } });
    assert.deepEqual(differsOnlyInApplications(at("a", "1"), at("b", "1")), []);
    assert.deepEqual(differsOnlyInApplications(at("a", "1"), at("a", "2")), ["working_dir"]);
  });
});
