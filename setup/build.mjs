import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { runHelper } from "./child.mjs";
import { readOrEmpty, replaceFile } from "./environment.mjs";

const outputEndings = /\.(js|js\.map|d\.ts)$/;

/** The compiled program. A package that is installed in another project has it already, and no sources. */
export const build = {
  title: "Build",
  expected: "tsc, takes about 10 seconds",
  async inPlace({ root }) {
    const config = join(root, "tsconfig.json");
    if (!existsSync(config)) return { detail: "dist/ came with this package" };
    if (readOrEmpty(stampOf(root)) !== fingerprint(root, sourcesOf(root))) return undefined;
    return { detail: "dist/ is as new as the sources" };
  },
  async perform({ root, env }) {
    const sources = sourcesOf(root);
    const before = fingerprint(root, sources);
    removeOrphans(root);
    const tsc = createRequire(join(root, "package.json")).resolve("typescript/bin/tsc");
    await runHelper(process.execPath, [tsc, "-p", root, "--pretty", "false"], {
      cwd: root,
      env,
      remedy: "mend what tsc names above, then run this again",
    });
    replaceFile(stampOf(root), before);
    return { detail: `${sources.length} sources compiled into dist/` };
  },
};

/** The TypeScript files tsconfig.json includes, absolute and sorted. */
export function sourcesOf(root) {
  const { include } = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8"));
  return include
    .map((entry) => join(root, entry))
    .filter(existsSync)
    .flatMap((entry) => (statSync(entry).isDirectory() ? filesBelow(entry) : [entry]))
    .filter((file) => file.endsWith(".ts"))
    .sort();
}

/** Changes when a source is edited, added or removed, or when the compiler or its settings change. */
export function fingerprint(root, sources) {
  const hash = createHash("sha256");
  for (const file of [join(root, "tsconfig.json"), join(root, "package-lock.json"), ...sources]) {
    const { mtimeMs, size } = statSync(file, { throwIfNoEntry: false }) ?? {};
    hash.update(`${relative(root, file)} ${mtimeMs} ${size}\n`);
  }
  return hash.digest("hex");
}

/** Ends compiled files whose source is gone: mocha would go on running a test that was deleted. */
export function removeOrphans(root) {
  const dist = join(root, "dist");
  if (!existsSync(dist)) return;
  for (const file of filesBelow(dist).filter((path) => outputEndings.test(path))) {
    if (!existsSync(join(root, relative(dist, file).replace(outputEndings, ".ts")))) rmSync(file);
  }
}

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const stampOf = (root) => join(root, "dist", ".rayshift-build");
