import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { digestDirectory } from "../../../components/version";
import { localPackage, type PackageInputs } from "../../../provider/local/package";
import type { OperationContext } from "../../../provider/resource";

const python = process.env.RAYSHIFT_PYTHON ?? "python3";
const context: OperationContext = {
  urn: "urn:test",
  name: "test",
  signal: new AbortController().signal,
  progress() {},
  warn() {},
};

describe("a package of a working directory", () => {
  let root: string;
  let inputs: PackageInputs;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "rs-package-"));
    inputs = await folder("code");
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  async function folder(name: string, store = "store"): Promise<PackageInputs> {
    const source = join(root, name);
    const files = {
      "app.py": "app = 1\n",
      "model/weights.bin": "0123",
      "model/notes.md": "left out",
      ".git/HEAD": "ref",
      "__pycache__/app.pyc": "x",
      "node_modules/x.js": "x",
      "old.pyc": "x",
    };
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(source, path, ".."), { recursive: true });
      writeFileSync(join(source, path), content);
    }
    const excludes = ["*.md"];
    return { source, digest: await digestDirectory(source, excludes), excludes, store: join(root, store) };
  }

  it("is a zip that Python reads, with the files of the version and no others", async () => {
    const { state } = await localPackage.create(inputs, context);
    assert.equal(state.uri, `file://${join(inputs.store, `${inputs.digest}.zip`)}`);
    const list = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); z.testzip(); print(*sorted(z.namelist()))";
    const names = execFileSync(python, ["-c", list, fileURLToPath(state.uri)], { encoding: "utf8" }).trim();
    assert.equal(names, "app.py model/weights.bin");
  });

  it("has the same bytes from another copy of the files, at another time, in another time zone", async () => {
    const first = await localPackage.create(inputs, context);
    const copy = await folder("copy", "other-store");
    utimesSync(join(copy.source, "app.py"), 1_000_000_000, 1_000_000_000);
    const zone = process.env.TZ;
    process.env.TZ = "Pacific/Auckland";
    try {
      const second = await localPackage.create(copy, context);
      assert.equal(hash(second.state.uri), hash(first.state.uri));
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });

  it("keeps programs executable", async () => {
    chmodSync(join(inputs.source, "app.py"), 0o755);
    const { state } = await localPackage.create(
      { ...inputs, digest: await digestDirectory(inputs.source, ["*.md"]) },
      context,
    );
    const modes =
      "import sys, zipfile; print([oct(i.external_attr >> 16) for i in zipfile.ZipFile(sys.argv[1]).infolist()])";
    const found = execFileSync(python, ["-c", modes, fileURLToPath(state.uri)], { encoding: "utf8" }).trim();
    assert.equal(found, "['0o100755', '0o100644']");
  });

  it("can be read by its owner only", async () => {
    const { id } = await localPackage.create(inputs, context);
    assert.equal(statSync(id).mode & 0o777, 0o600);
    assert.equal(statSync(inputs.store).mode & 0o777, 0o700);
  });

  it("needs no source once it is in the store", async () => {
    await localPackage.create(inputs, context);
    rmSync(inputs.source, { recursive: true });
    await localPackage.create(inputs, context);
  });

  it("is refused, naming the folder, when neither source nor package is there", async () => {
    rmSync(inputs.source, { recursive: true });
    await assert.rejects(localPackage.create(inputs, context), (error: Error) => error.message.includes(inputs.source));
  });

  it("is never made of files that were edited since, and leaves nothing behind", async () => {
    writeFileSync(join(inputs.source, "app.py"), "app = 2\n");
    await assert.rejects(localPackage.create(inputs, context), /edited since/);
    assert.deepEqual(readdirSync(inputs.store), []);
  });

  it("takes no notice of what a packing that was killed has left", async () => {
    mkdirSync(inputs.store, { mode: 0o700 });
    writeFileSync(join(inputs.store, `${inputs.digest}.zip.part`), "half of a longer zip ".repeat(100_000));
    const { id } = await localPackage.create(inputs, context);
    assert.equal(
      hash(`file://${id}`),
      hash((await localPackage.create(await folder("copy", "other"), context)).state.uri),
    );
  });

  it("is gone for a read when its zip is, and for a delete too", async () => {
    const { id, state } = await localPackage.create(inputs, context);
    assert.deepEqual(await localPackage.read(id, state, context), state);
    await localPackage.delete(id, state, context);
    assert.ok(!existsSync(id));
    assert.equal(await localPackage.read(id, state, context), undefined);
    await localPackage.delete(id, state, context);
  });

  it("changes with its digest and its store, not with the place of the source", async () => {
    const { state } = await localPackage.create(inputs, context);
    assert.deepEqual(localPackage.diff(state, { ...inputs, source: "/elsewhere", excludes: [] }), { changes: false });
    assert.deepEqual(localPackage.diff(state, { ...inputs, digest: "1" }), { changes: true, replaces: ["digest"] });
    assert.deepEqual(localPackage.diff(state, { ...inputs, store: "/s" }), { changes: true, replaces: ["store"] });
  });
});

function hash(uri: string): string {
  return createHash("sha256")
    .update(readFileSync(fileURLToPath(uri)))
    .digest("hex");
}
