import { existsSync } from "node:fs";
import { join } from "node:path";
import { runHelper } from "./child.mjs";
import { readOrEmpty } from "./environment.mjs";
import { SetupError } from "./progress.mjs";

const title = "Node packages";
const remedy = "see npm's message above; check the network and the registry npm is set to, then run this again";

/** The Node packages of the lock file. A package that is installed in another project has none: npm put its dependencies there. */
export const nodePackages = {
  title,
  expected: "npm ci, takes about half a minute",
  async inPlace({ root }) {
    const lock = readOrEmpty(join(root, "package-lock.json"));
    if (lock === "") return { detail: "installed with this package" };
    if (!matchesLock(lock, readOrEmpty(join(root, "node_modules", ".package-lock.json")))) return undefined;
    return { detail: "they match package-lock.json" };
  },
  async perform({ root, env }) {
    if (!existsSync(join(root, "package.json"))) throw new SetupError(`${root} holds no package.json`, { remedy });
    await runHelper("npm", ["ci", "--include=dev", "--no-audit", "--no-fund"], { cwd: root, env, remedy });
    return { detail: "installed as in package-lock.json" };
  },
};

/**
 * Whether npm's own record of what is in node_modules is what the lock file asks for.
 * Optional packages may be absent: most are for another operating system or processor.
 * @param {string} lock text of package-lock.json
 * @param {string} installed text of node_modules/.package-lock.json, which npm writes when an install is complete
 */
export function matchesLock(lock, installed) {
  const [wanted, present] = [lock, installed].map(packagesOf);
  if (present.size === 0) return false;
  for (const [path, { version, integrity }] of present) {
    const locked = wanted.get(path);
    if (locked?.version !== version || locked?.integrity !== integrity) return false;
  }
  return [...wanted].every(([path, { optional }]) => optional === true || present.has(path));
}

function packagesOf(text) {
  try {
    return new Map(Object.entries(JSON.parse(text).packages ?? {}).filter(([path]) => path !== ""));
  } catch {
    return new Map();
  }
}
