import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { findOnPath, goVersion, isAtLeast, isExecutable } from "./checks.mjs";
import { onInterrupt, runHelper } from "./child.mjs";
import { SetupError } from "./progress.mjs";

/** The Pulumi CLI everything is tried with. */
export const pulumiVersion = "3.246.0";

const installerSeconds = 60;
const cli = "pulumi";
const languageHost = "pulumi-language-nodejs";
/** Counts up when set-up makes something else of the same version: what older set-ups left in the cache is not used then. */
const edition = 2;
const elsewise = `or put the Pulumi CLI ${pulumiVersion} on PATH, then run this again`;

const modules = [
  {
    binary: cli,
    folder: "pulumi-cli",
    package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    flags: `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=${pulumiVersion}`,
  },
  {
    binary: `${languageHost}.built`,
    folder: "pulumi-language-nodejs",
    package: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    flags: "-s -w",
  },
];

/** The Pulumi CLI and its Node language host: from PATH, from our cache, from the vendor's installer, or built from Go modules. */
export const pulumiCli = {
  title: `Pulumi CLI ${pulumiVersion}`,
  expected: "takes a few seconds with the vendor's installer, 4 to 6 minutes without",
  async inPlace({ env }) {
    const cached = cacheFolder(env);
    const bin = (await onPath(env)) ?? (isComplete(cached) ? join(cached, "bin") : undefined);
    return bin === undefined ? undefined : { detail: bin, toolchain: { pulumiBin: bin, pulumiVersion } };
  },
  async perform({ root, env }, note) {
    const target = cacheFolder(env);
    mkdirSync(dirname(target), { recursive: true });
    removeLeftovers(target);
    const fresh = mkdtempSync(`${target}.${process.pid}.`);
    const remove = () => rmSync(fresh, { recursive: true, force: true });
    const done = onInterrupt(remove);
    try {
      mkdirSync(join(fresh, "bin"));
      const how = (await install(root, env, fresh, note)) ? "from the vendor" : await build(root, env, fresh, note);
      moveIntoPlace(fresh, target);
      const bin = join(target, "bin");
      return { detail: `${how}, in ${bin}`, toolchain: { pulumiBin: bin, pulumiVersion } };
    } finally {
      remove();
      done();
    }
  },
};

/** Shared by all projects of a user. */
export function cacheFolder(env) {
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "rayshift", `pulumi-${pulumiVersion}-${edition}`);
}

/** Whether `pulumi version` printed exactly `version`; released binaries put a "v" before it, those built from modules do not. */
export function isVersion(output, version) {
  return output.trim().replace(/^v/, "") === version;
}

async function onPath(env) {
  const found = findOnPath(cli, env.PATH);
  if (found === undefined) return undefined;
  // A link on PATH often points into the folder that holds the language host too.
  const bin = dirname(realpathSync(found));
  if (!isExecutable(join(bin, languageHost)) && findOnPath(languageHost, env.PATH) === undefined) return undefined;
  return (await versionMatches(found, env)) ? bin : undefined;
}

async function versionMatches(command, env) {
  const quiet = { ...env, PULUMI_SKIP_UPDATE_CHECK: "1" };
  const output = await runHelper(command, ["version"], { env: quiet, timeoutSeconds: 20, remedy: "" }).catch(() => "");
  return isVersion(output, pulumiVersion);
}

function isComplete(folder) {
  return [cli, languageHost].every((name) => isExecutable(join(folder, "bin", name)));
}

/** @returns {Promise<boolean>} false when the vendor's site cannot be used from here */
async function install(root, env, fresh, note) {
  note(`asking the vendor's installer, at most ${installerSeconds} s`);
  // The installer leaves its script behind when it is ended: with this it lies in the folder that goes away.
  const inside = { ...env, TMPDIR: fresh };
  try {
    await runHelper(process.execPath, [join(root, "setup", "installPulumi.mjs"), fresh, pulumiVersion], {
      env: inside,
      timeoutSeconds: installerSeconds,
      remedy: "",
    });
  } catch (error) {
    const cause = error.output.trim().split("\n").pop() || error.message;
    note(`the installer gave nothing (${cause})`);
    return false;
  }
  return isComplete(fresh) && (await versionMatches(join(fresh, "bin", cli), env));
}

async function build(root, env, fresh, note) {
  const least = leastGo(readFileSync(join(root, "setup", modules[0].folder, "go.mod"), "utf8"));
  await checkGo(env, least);
  note("building it from Go modules instead, takes 4 to 6 minutes");
  for (const module of modules) {
    const cwd = join(root, "setup", module.folder);
    const args = [
      "build",
      "-mod=readonly",
      "-ldflags",
      module.flags,
      "-o",
      join(fresh, "bin", module.binary),
      module.package,
    ];
    await runHelper("go", args, {
      cwd,
      // A workspace around the project, or flags the user set for other work, must not change what is built.
      env: { ...env, GOWORK: "off", GOFLAGS: "-buildvcs=false" },
      remedy: `see Go's message above; check that Go modules can be downloaded, ${elsewise}`,
    });
    note(`${module.binary} is built`);
  }
  copyFileSync(join(root, "setup", languageHost, "launcher.sh"), join(fresh, "bin", languageHost));
  if (!(await versionMatches(join(fresh, "bin", cli), env))) {
    throw new SetupError(`the Pulumi CLI that was built does not answer with version ${pulumiVersion}`, {
      remedy: `empty Go's caches with \`go clean -cache -modcache\` and run this again, ${elsewise}`,
    });
  }
  return "built from Go modules";
}

async function checkGo(env, least) {
  const found = findOnPath("go", env.PATH);
  const output = found === undefined ? "" : await runHelper(found, ["version"], { env, remedy: "" }).catch(() => "");
  const version = goVersion(output);
  if (version !== undefined && isAtLeast(version, least)) return;
  const what = version === undefined ? "there is no Go on PATH" : `Go ${version} is too old`;
  throw new SetupError(`the Pulumi CLI ${pulumiVersion} could not be installed, and to build it ${what}`, {
    remedy: `install Go ${least} or newer (https://go.dev/doc/install), ${elsewise}`,
    exitCode: 2,
  });
}

/** The `go` line of a go.mod: the oldest Go that builds it. */
export function leastGo(goMod) {
  return /^go (\S+)$/m.exec(goMod)[1];
}

/** Another set-up may have finished the same first: then its folder stays and ours goes. */
function moveIntoPlace(fresh, target) {
  if (existsSync(target) && !isComplete(target)) rmSync(target, { recursive: true, force: true });
  try {
    renameSync(fresh, target);
  } catch (error) {
    if (!isComplete(target)) throw error;
  }
}

/** Folders of set-ups that were killed. */
function removeLeftovers(target) {
  const prefix = `${target}.`.slice(dirname(target).length + 1);
  for (const name of readdirSync(dirname(target)).filter((entry) => entry.startsWith(prefix))) {
    if (!isAlive(Number(name.slice(prefix.length).split(".")[0]))) {
      rmSync(join(dirname(target), name), { recursive: true, force: true });
    }
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
