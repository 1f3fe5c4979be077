import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { importSetup, temporaryFolder, writeScript } from "./support";

interface Checks {
  isAtLeast(version: string, least: string): boolean;
  checkNode(version: string): void;
  findOnPath(name: string, path?: string): string | undefined;
  findPython(env: NodeJS.ProcessEnv): Promise<{ executable: string; version: string }>;
  pythonProblem(version: string, venvIsMissing: boolean): string | undefined;
  goVersion(output: string): string | undefined;
}

describe("setup: checks", () => {
  const folder = temporaryFolder();
  let checks: Checks;
  before(async () => {
    checks = await importSetup<Checks>("checks.mjs");
  });

  it("compares versions by number, and a part that is missing counts as 0", () => {
    assert.equal(checks.isAtLeast("3.10", "3.9"), true);
    assert.equal(checks.isAtLeast("3.9.18", "3.10"), false);
    assert.equal(checks.isAtLeast("1.25", "1.25.0"), true);
    assert.equal(checks.isAtLeast("1.25.7", "1.25.8"), false);
    assert.equal(checks.isAtLeast("2.0", "1.26.5"), true);
  });

  it("refuses a Node that is too old and says which is needed", () => {
    checks.checkNode("20.19.0");
    checks.checkNode("24.0.0");
    assert.throws(() => checks.checkNode("20.18.3"), { message: /Node 20\.18\.3/, remedy: /20\.19/, exitCode: 2 });
  });

  it("finds a program on PATH only where it is an executable file", () => {
    mkdirSync(join(folder(), "a", "tool"), { recursive: true });
    mkdirSync(join(folder(), "b"));
    writeFileSync(join(folder(), "b", "tool"), "", { mode: 0o644 });
    writeScript(join(folder(), "c", "tool"), "true");
    const path = ["a", "b", "", "c"].map((name) => name && join(folder(), name)).join(":");
    assert.equal(checks.findOnPath("tool", path), join(folder(), "c", "tool"));
    assert.equal(checks.findOnPath("tool", join(folder(), "b")), undefined);
    assert.equal(checks.findOnPath("tool"), undefined);
  });

  it("takes each Python that the pinned Ray has wheels for, and no other", () => {
    for (const version of ["3.10.0", "3.11.7", "3.14.1"]) assert.equal(checks.pythonProblem(version, false), undefined);
    assert.match(checks.pythonProblem("3.9.18", false)!, /3\.9\.18, too old/);
    assert.match(checks.pythonProblem("3.15.0", false)!, /does not support yet/);
    assert.match(checks.pythonProblem("3.12.1", true)!, /python3-venv/);
  });

  it("passes over a Python that is too old for a later one on PATH", async () => {
    writeScript(join(folder(), "python3"), "printf '3.8.1\\n/old\\nTrue\\n'");
    writeScript(join(folder(), "python3.12"), "printf '3.12.1\\n/new\\nTrue\\n'");
    assert.deepEqual(await checks.findPython({ PATH: folder() }), { executable: "/new", version: "3.12.1" });
  });

  it("uses RAYSHIFT_BASE_PYTHON or nothing, and names what was wrong with it", async () => {
    writeScript(join(folder(), "python3"), "printf '3.12.1\\n/new\\nTrue\\n'");
    writeScript(join(folder(), "mine"), "printf '3.8.1\\n/old\\nTrue\\n'");
    await assert.rejects(checks.findPython({ PATH: folder(), RAYSHIFT_BASE_PYTHON: join(folder(), "mine") }), {
      message: /RAYSHIFT_BASE_PYTHON is .*mine; .*mine is 3\.8\.1, too old/,
      exitCode: 2,
    });
  });

  it("reads the version of a released, a candidate and no Go", () => {
    assert.equal(checks.goVersion("go version go1.26.1 linux/amd64"), "1.26.1");
    assert.equal(checks.goVersion("go version go1.27rc1 linux/amd64"), "1.27");
    assert.equal(checks.goVersion(""), undefined);
  });
});
