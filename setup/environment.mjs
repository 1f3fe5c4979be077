import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** @typedef {{pulumiBin: string, pulumiVersion: string, python?: string, haproxy?: string, cloudsPython?: string}} Toolchain `pulumiBin` is a folder; no Python and HAProxy where the local target cannot run */

/** The folder with package.json. */
export const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The folder that holds everything of this project on this machine: tools, local stacks, the passphrase of their secrets.
 * A package in node_modules is wiped by every install, so its home is beside the outermost node_modules, or, where that
 * belongs to no project (a global install, npx), the user's data folder.
 * @param {string} root the package's folder
 * @param {NodeJS.ProcessEnv} env
 * @param {(path: string) => boolean} isProject
 */
export function homeFolder(root, env, isProject) {
  if (env.RAYSHIFT_HOME) return resolve(env.RAYSHIFT_HOME);
  const parts = root.split(sep);
  const modules = parts.indexOf("node_modules");
  if (modules === -1) return join(root, ".rayshift");
  const project = parts.slice(0, modules).join(sep) || sep;
  if (isProject(project) && !parts.includes("_npx")) return join(project, ".rayshift");
  return join(env.XDG_DATA_HOME || join(homedir(), ".local", "share"), "rayshift");
}

/** @param {string} home @returns {Toolchain | undefined} undefined when set-up has not run */
export function readToolchain(home) {
  try {
    return JSON.parse(readFileSync(toolchainFile(home), "utf8"));
  } catch (error) {
    if (error.code === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** @param {string} home @param {Toolchain} toolchain */
export function writeToolchain(home, toolchain) {
  const text = `${JSON.stringify(toolchain, undefined, 2)}\n`;
  if (readOrEmpty(toolchainFile(home)) !== text) replaceFile(toolchainFile(home), text);
}

/**
 * The environment everything runs in: the tools set-up found or made, and a local Pulumi backend unless the user has chosen one.
 * @param {string} home
 * @param {Toolchain} toolchain
 * @param {NodeJS.ProcessEnv} env the user's own; stays as it is
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentOf(home, toolchain, env) {
  const ownPassphrase = env.PULUMI_CONFIG_PASSPHRASE !== undefined || env.PULUMI_CONFIG_PASSPHRASE_FILE !== undefined;
  return {
    PULUMI_BACKEND_URL: `file://${stateFolder(home)}`,
    PULUMI_SKIP_UPDATE_CHECK: "1",
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "1",
    ...(ownPassphrase ? {} : { PULUMI_CONFIG_PASSPHRASE_FILE: passphraseFile(home) }),
    ...env,
    PATH: env.PATH ? `${toolchain.pulumiBin}${delimiter}${env.PATH}` : toolchain.pulumiBin,
    RAYSHIFT_HOME: home,
    ...(toolchain.python === undefined ? {} : { RAYSHIFT_PYTHON: toolchain.python }),
    ...(toolchain.haproxy === undefined ? {} : { RAYSHIFT_HAPROXY: toolchain.haproxy }),
    ...(toolchain.cloudsPython === undefined ? {} : { RAYSHIFT_CLOUDS_PYTHON: toolchain.cloudsPython }),
  };
}

/** Makes the home folder, its local backend and, unless the user has a passphrase, one for the secrets of local stacks. */
export function makeHome(home, env) {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  mkdirSync(stateFolder(home), { recursive: true, mode: 0o700 });
  if (env.PULUMI_CONFIG_PASSPHRASE === undefined && env.PULUMI_CONFIG_PASSPHRASE_FILE === undefined) {
    makePassphrase(passphraseFile(home));
  }
}

/** A lost or changed passphrase makes every secret of the local stacks unreadable: it appears whole and is never written again. */
function makePassphrase(path) {
  if (readOrEmpty(path) !== "") return;
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, randomBytes(32).toString("base64url"), { mode: 0o600 });
  try {
    linkSync(fresh, path);
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  } finally {
    rmSync(fresh);
  }
}

/** Writes a file so that a reader finds the old or the new content, never a part. */
export function replaceFile(path, text) {
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, text, { mode: 0o600 });
  renameSync(fresh, path);
}

export function readOrEmpty(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return "";
    throw error;
  }
}

const toolchainFile = (home) => join(home, "toolchain.json");
const stateFolder = (home) => join(home, "state");
const passphraseFile = (home) => join(home, "passphrase");
