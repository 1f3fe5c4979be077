import assert from "node:assert/strict";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { importSetup, temporaryFolder } from "./support";

interface Build {
  sourcesOf(root: string): string[];
  fingerprint(root: string, sources: string[]): string;
  removeOrphans(root: string): void;
  build: { inPlace(context: { root: string }): Promise<{ detail: string } | undefined> };
}

describe("setup: build", () => {
  const folder = temporaryFolder();
  let module: Build;
  before(async () => {
    module = await importSetup<Build>("build.mjs");
  });

  const write = (path: string, text = "") => {
    mkdirSync(join(folder(), path, ".."), { recursive: true });
    writeFileSync(join(folder(), path), text);
  };
  const writeProject = () => {
    write("tsconfig.json", JSON.stringify({ include: ["index.ts", "part", "absent"] }));
    for (const path of ["index.ts", "part/a.ts", "part/deep/b.ts", "part/note.md", "other/c.ts"]) write(path);
  };
  const print = () => module.fingerprint(folder(), module.sourcesOf(folder()));

  it("compiles what tsconfig.json includes", () => {
    writeProject();
    const sources = module.sourcesOf(folder()).map((file) => relative(folder(), file));
    assert.deepEqual(sources, ["index.ts", "part/a.ts", "part/deep/b.ts"]);
  });

  it("builds again after an edit, an addition and a removal, and not otherwise", () => {
    writeProject();
    const prints = [print()];
    assert.equal(print(), prints[0]);
    write("part/a.ts", "export {};");
    prints.push(print());
    write("part/new.ts");
    prints.push(print());
    rmSync(join(folder(), "part/deep/b.ts"));
    prints.push(print());
    assert.equal(new Set(prints).size, 4);
  });

  it("removes the compiled files of a source that is gone, and no others", () => {
    writeProject();
    const kept = ["dist/part/a.js", "dist/part/a.d.ts", "dist/part/a.js.map", "dist/.tsbuildinfo"];
    const gone = ["dist/part/gone.test.js", "dist/part/gone.test.d.ts", "dist/part/gone.test.js.map"];
    for (const path of [...kept, ...gone]) write(path);
    module.removeOrphans(folder());
    const left = [...kept, ...gone].filter((path) => existsSync(join(folder(), path)));
    assert.deepEqual(left, kept);
  });

  it("has nothing to build in a package that is shipped compiled", async () => {
    assert.match((await module.build.inPlace({ root: folder() }))!.detail, /came with this package/);
  });
});
