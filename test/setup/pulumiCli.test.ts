import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { importSetup, root, temporaryFolder, writeScript } from "./support";

interface PulumiCli {
  pulumiVersion: string;
  isVersion(output: string, version: string): boolean;
  leastGo(goMod: string): string;
  cacheFolder(env: NodeJS.ProcessEnv): string;
  pulumiCli: {
    inPlace(context: { env: NodeJS.ProcessEnv }): Promise<{ toolchain: { pulumiBin: string } } | undefined>;
  };
}

describe("setup: Pulumi CLI", () => {
  const folder = temporaryFolder();
  let module: PulumiCli;
  before(async () => {
    module = await importSetup<PulumiCli>("pulumiCli.mjs");
  });

  const found = async (path: string) => {
    const env = { PATH: join(folder(), path), XDG_CACHE_HOME: join(folder(), "cache") };
    return (await module.pulumiCli.inPlace({ env }))?.toolchain.pulumiBin;
  };
  const writeCli = (path: string, version: string) =>
    writeScript(join(folder(), path, "pulumi"), `[ "$1" = version ] && echo ${version}`);
  const writeLanguageHost = (path: string) => writeScript(join(folder(), path, "pulumi-language-nodejs"), "true");

  it("takes exactly the pinned version, with or without the v of a release", () => {
    assert.equal(module.isVersion("v3.246.0\n", "3.246.0"), true);
    assert.equal(module.isVersion("3.246.0\n", "3.246.0"), true);
    for (const other of ["v3.246.1", "v3.246.0-alpha.1", "v13.246.0", ""]) {
      assert.equal(module.isVersion(other, "3.246.0"), false, other);
    }
  });

  it("uses the CLI on PATH when it has the pinned version and its language host", async () => {
    writeCli("bin", "v3.246.0");
    assert.equal(await found("bin"), undefined);
    writeLanguageHost("bin");
    assert.equal(await found("bin"), join(folder(), "bin"));
  });

  it("follows a link on PATH to the folder that holds both programs", async () => {
    writeCli("install", "v3.246.0");
    writeLanguageHost("install");
    writeScript(join(folder(), "links", "other"), "true");
    symlinkSync(join(folder(), "install", "pulumi"), join(folder(), "links", "pulumi"));
    assert.equal(await found("links"), join(folder(), "install"));
  });

  it("prefers its own cache to a CLI of another version, and needs both programs there", async () => {
    writeCli("bin", "v3.200.0");
    writeLanguageHost("bin");
    assert.equal(await found("bin"), undefined);
    const cached = join(relative(folder(), module.cacheFolder({ XDG_CACHE_HOME: join(folder(), "cache") })), "bin");
    writeCli(cached, "3.246.0");
    assert.equal(await found("bin"), undefined);
    writeLanguageHost(cached);
    assert.equal(await found("bin"), join(folder(), cached));
  });

  it("builds the version it is pinned to, and asks for the Go that its modules ask for", () => {
    const goMod = readFileSync(join(root, "setup", "pulumi-cli", "go.mod"), "utf8");
    assert.ok(goMod.includes(`github.com/pulumi/pulumi/pkg/v3 v${module.pulumiVersion}`));
    assert.match(module.leastGo(goMod), /^1\.\d+(\.\d+)?$/);
  });

  describe("the language host that it builds", () => {
    /** What the host is started with in a folder below one with this Pulumi.yaml. */
    const startedWith = (pulumiYaml: string) => {
      const host = join(folder(), "built", "pulumi-language-nodejs");
      writeScript(`${host}.built`, 'echo "$@"');
      copyFileSync(join(root, "setup", "pulumi-language-nodejs", "launcher.sh"), host);
      const cwd = join(folder(), "project", "dist");
      mkdirSync(cwd, { recursive: true });
      writeFileSync(join(folder(), "project", "Pulumi.yaml"), pulumiYaml);
      return execFileSync(host, ["127.0.0.1:1234"], { cwd, encoding: "utf8" }).trim();
    };

    it("does without TypeScript's compiler where the project does", () => {
      assert.equal(startedWith(readFileSync(join(root, "Pulumi.yaml"), "utf8")), "-typescript=false 127.0.0.1:1234");
    });

    it("is left alone in a project of anybody else's", () => {
      assert.equal(startedWith("name: theirs\nruntime: nodejs\n"), "127.0.0.1:1234");
    });
  });
});
