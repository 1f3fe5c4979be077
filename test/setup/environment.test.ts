import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { importSetup, temporaryFolder } from "./support";

interface Toolchain {
  pulumiBin: string;
  pulumiVersion: string;
  python?: string;
  haproxy?: string;
}
interface Environment {
  homeFolder(root: string, env: NodeJS.ProcessEnv, isProject: (path: string) => boolean): string;
  environmentOf(home: string, toolchain: Toolchain, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv;
  makeHome(home: string, env: NodeJS.ProcessEnv): void;
  readToolchain(home: string): Toolchain | undefined;
  writeToolchain(home: string, toolchain: Toolchain): void;
}

const toolchain: Toolchain = {
  pulumiBin: "/tools/bin",
  pulumiVersion: "3.246.0",
  python: "/venv/bin/python",
  haproxy: "/venv/haproxy",
};
const mode = (path: string) => statSync(path).mode & 0o777;

describe("setup: environment", () => {
  const folder = temporaryFolder();
  let environment: Environment;
  before(async () => {
    environment = await importSetup<Environment>("environment.mjs");
  });

  it("puts the tools first on PATH and names Python, HAProxy, home and a local backend", () => {
    assert.deepEqual(environment.environmentOf("/home", toolchain, { PATH: "/usr/bin", LANG: "C" }), {
      PATH: "/tools/bin:/usr/bin",
      LANG: "C",
      RAYSHIFT_HOME: "/home",
      RAYSHIFT_PYTHON: "/venv/bin/python",
      RAYSHIFT_HAPROXY: "/venv/haproxy",
      PULUMI_BACKEND_URL: "file:///home/state",
      PULUMI_CONFIG_PASSPHRASE_FILE: "/home/passphrase",
      PULUMI_SKIP_UPDATE_CHECK: "1",
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "1",
    });
  });

  it("keeps the backend, the passphrase and the switches the user has set", () => {
    const own = {
      PULUMI_BACKEND_URL: "s3://states",
      PULUMI_CONFIG_PASSPHRASE: "",
      PULUMI_SKIP_UPDATE_CHECK: "0",
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "false",
    };
    const env = environment.environmentOf("/home", toolchain, own);
    for (const [name, value] of Object.entries(own)) assert.equal(env[name], value);
    assert.equal("PULUMI_CONFIG_PASSPHRASE_FILE" in env, false);
    const file = environment.environmentOf("/home", toolchain, { PULUMI_CONFIG_PASSPHRASE_FILE: "/mine" });
    assert.equal(file.PULUMI_CONFIG_PASSPHRASE_FILE, "/mine");
  });

  it("names no Python and no HAProxy where the local target cannot run", () => {
    const env = environment.environmentOf("/home", { pulumiBin: "/tools/bin", pulumiVersion: "3.246.0" }, {});
    assert.equal("RAYSHIFT_PYTHON" in env, false);
    assert.equal("RAYSHIFT_HAPROXY" in env, false);
  });

  it("keeps everything in the project, also for a package in its node_modules, and elsewhere without one", () => {
    const project = () => true;
    assert.equal(environment.homeFolder("/work/me", {}, project), "/work/me/.rayshift");
    assert.equal(environment.homeFolder("/app/node_modules/rayshift", {}, project), "/app/.rayshift");
    assert.equal(
      environment.homeFolder("/app/node_modules/.pnpm/r@1/node_modules/rayshift", {}, project),
      "/app/.rayshift",
    );
    const data = { XDG_DATA_HOME: "/data" };
    assert.equal(
      environment.homeFolder("/usr/lib/node_modules/rayshift", data, () => false),
      "/data/rayshift",
    );
    assert.equal(environment.homeFolder("/c/_npx/1/node_modules/rayshift", data, project), "/data/rayshift");
    assert.equal(
      environment.homeFolder("/usr/lib/node_modules/rayshift", {}, () => false),
      join(homedir(), ".local", "share", "rayshift"),
    );
    assert.equal(environment.homeFolder("/work/me", { RAYSHIFT_HOME: "/else" }, project), "/else");
  });

  it("makes a private home with a passphrase that a second set-up leaves as it is", () => {
    const home = join(folder(), "home");
    environment.makeHome(home, {});
    const passphrase = readFileSync(join(home, "passphrase"), "utf8");
    assert.ok(passphrase.length >= 40);
    assert.equal(mode(home), 0o700);
    assert.equal(mode(join(home, "state")), 0o700);
    assert.equal(mode(join(home, "passphrase")), 0o600);
    environment.makeHome(home, {});
    assert.equal(readFileSync(join(home, "passphrase"), "utf8"), passphrase);
  });

  it("makes no passphrase for a user who has one", () => {
    for (const env of [{ PULUMI_CONFIG_PASSPHRASE: "" }, { PULUMI_CONFIG_PASSPHRASE_FILE: "/mine" }]) {
      environment.makeHome(join(folder(), "home"), env);
      assert.equal(existsSync(join(folder(), "home", "passphrase")), false);
    }
  });

  it("reads back the toolchain it wrote, and none where set-up has not run or the file is broken", () => {
    assert.equal(environment.readToolchain(folder()), undefined);
    environment.writeToolchain(folder(), toolchain);
    assert.deepEqual(environment.readToolchain(folder()), toolchain);
    mkdirSync(join(folder(), "broken"));
    writeFileSync(join(folder(), "broken", "toolchain.json"), "{");
    assert.equal(environment.readToolchain(join(folder(), "broken")), undefined);
  });
});
