import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { root } from "../setup/support";

/** Runs a script after the program's modules are there; gives back what it prints as JSON. */
function afterProgram(script: string): unknown {
  const all = `
    const program = require("./dist/index.js");
    const loaded = () => ["@npmcli/arborist", "typescript"].filter((name) =>
      Object.keys(require.cache).some((file) => file.includes("/node_modules/" + name + "/") && require.cache[file].children.length > 0),
    );
    const show = (value) => process.stdout.write(JSON.stringify(value));
    ${script}`;
  return JSON.parse(execFileSync(process.execPath, ["-e", all], { cwd: root, encoding: "utf8" }));
}

describe("modules of Pulumi's SDK that the program does not need", () => {
  it("are not loaded by the program, and serve whoever uses them after all", () => {
    const [atFirst, folders, afterwards] = afterProgram(`
      const { computeCodePaths } = require("@pulumi/pulumi").runtime;
      const atFirst = loaded();
      computeCodePaths({ extraIncludePackages: ["zod"] }).then((paths) => show([atFirst, paths.size > 0, loaded()]));
    `) as [string[], boolean, string[]];
    assert.deepEqual([atFirst, folders, afterwards], [[], true, ["@npmcli/arborist"]]);
  });

  it("serve the serialization of a function", () => {
    const text = afterProgram(`
      require("@pulumi/pulumi").runtime.serializeFunction(() => "served").then(({ text }) => show(text));
    `);
    assert.match(String(text), /"served"/);
  });
});
