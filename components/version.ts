import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { InvalidInput } from "./problems";
import type { Version, WorkingDirectory } from "./record";
import type { ServiceSpec } from "./serviceSpec";
import { isLocalPath } from "./specParts";

/** One file of a working directory. */
export interface SourceFile {
  /** Within the directory, with "/" between the parts. */
  path: string;
  /** Absolute, links resolved: where the content is. */
  file: string;
  executable: boolean;
}

/** Never part of a version. */
const alwaysExcluded = [".git", "__pycache__", "node_modules", "*.pyc"];

/**
 * The files of a folder that belong to a version, sorted by path.
 * @param excludes - globs: one without "/" matches at every depth, one that matches a folder excludes all below it
 * @throws InvalidInput when there is no such folder, or for a link that leads out of it
 */
export async function sourceFiles(directory: string, excludes: readonly string[] = []): Promise<SourceFile[]> {
  const excluded = [...alwaysExcluded, ...excludes].map(globPattern);
  const root = await realpath(directory).catch(() => undefined);
  if (root === undefined || !(await stat(root)).isDirectory()) {
    const rule = "is not a folder on this machine";
    throw new InvalidInput(
      [{ path: "working_dir", value: directory, rule, remedy: "give the folder of the code" }],
      "service",
    );
  }
  const files: SourceFile[] = [];
  const badLinks: string[] = [];

  async function visit(folder: string, path: string, above: readonly string[]): Promise<void> {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const entryPath = path === "" ? entry.name : `${path}/${entry.name}`;
      if (excluded.some((pattern) => pattern.test(entryPath))) continue;
      const file = await realpath(join(folder, entry.name)).catch(() => undefined);
      const leadsOut = file === undefined || relative(root!, file).split(sep)[0] === "..";
      // A folder that is linked into itself has no end.
      if (leadsOut || above.includes(file)) {
        badLinks.push(entryPath);
        continue;
      }
      const found = await stat(file);
      if (found.isDirectory()) await visit(file, entryPath, [...above, file]);
      else if (found.isFile()) files.push({ path: entryPath, file, executable: (found.mode & 0o100) !== 0 });
    }
  }

  await visit(root, "", [root]);
  if (badLinks.length > 0) {
    const problems = badLinks.map((path) => ({
      path: `working_dir/${path}`,
      rule: "is a link that leads out of the folder, to nothing, or to a folder that it is in",
      remedy: "copy what it leads to in its place, or add it to `excludes`",
    }));
    throw new InvalidInput(problems, "service");
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * A glob as a pattern of paths, in the manner of .gitignore: `*` and `?` stay within a part of the path, `**` does not,
 * a leading "/" or "./" binds to the top of the folder.
 */
function globPattern(glob: string): RegExp {
  const bare = glob.replace(/^\.?\//, "").replace(/\/+$/, "");
  const anchored = bare.includes("/") || bare !== glob.replace(/\/+$/, "");
  const body = bare.replace(/\*\*\/|\*\*|\*|\?|\[!?[^\]]+\]|[\\^$.|+(){}[\]]/g, (part) => {
    if (part === "**/") return "(?:.*/)?";
    if (part === "**") return ".*";
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    return part.length > 1 ? part.replace(/^\[!/, "[^").replace(/\\/g, "\\\\") : `\\${part}`;
  });
  return new RegExp(`^${anchored ? "" : "(?:.*/)?"}${body}(?:/.*)?$`, "s");
}

/**
 * sha256 (hex) of what {@link sourceFiles} finds: paths, contents and executable bits; not times or owners.
 * @throws InvalidInput like {@link sourceFiles}
 */
export async function digestDirectory(directory: string, excludes: readonly string[] = []): Promise<string> {
  const digest = createHash("sha256");
  for (const { path, file, executable } of await sourceFiles(directory, excludes)) {
    const content = createHash("sha256");
    await pipeline(createReadStream(file), content);
    digest.update(`${JSON.stringify([path, executable, content.digest("hex")])}\n`);
  }
  return digest.digest("hex");
}

/** JSON with sorted keys, the same text for the same value. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

/**
 * sha256 (hex) of what a version is, whatever it and its service are called.
 * @param workingDirDigest - what the folder holds; it stands for the folder's path
 */
export function specDigest(spec: ServiceSpec, workingDirDigest?: string): string {
  const { name: _service, version_name: _version, ...content } = spec;
  const identity = workingDirDigest === undefined ? content : { ...content, working_dir: workingDirDigest };
  return createHash("sha256").update(canonical(identity)).digest("hex");
}

/** The spec's `version_name`, or the first 8 hex digits of {@link specDigest}. */
export function versionName(spec: ServiceSpec, workingDirDigest?: string): string {
  return spec.version_name ?? specDigest(spec, workingDirDigest).slice(0, 8);
}

/** How the content of a working directory is known without reading it. */
export interface KnownContent {
  /** The digest of the version that is meant, whatever the folder holds by now. */
  pinned?: string | undefined;
  /** Versions that run: where the folder is not on this machine, one with the same spec is meant. */
  running?: readonly Version[] | undefined;
}

/**
 * The version that a spec stands for, with the files of its working directory as they are now unless their digest is
 * known otherwise.
 * @param base - absolute folder that a relative `working_dir` starts from
 * @throws InvalidInput like {@link sourceFiles}
 */
export async function describeVersion(spec: ServiceSpec, base: string, known: KnownContent = {}): Promise<Version> {
  const workingDirectory = await describeWorkingDirectory(spec, base, known);
  const digest = specDigest(spec, workingDirectory?.digest);
  return { name: versionName(spec, workingDirectory?.digest), spec, digest, workingDirectory };
}

async function describeWorkingDirectory(
  spec: ServiceSpec,
  base: string,
  { pinned, running = [] }: KnownContent,
): Promise<WorkingDirectory | undefined> {
  const { working_dir: folder, excludes = [] } = spec;
  if (folder === undefined || !isLocalPath(folder)) return undefined;
  const source = resolve(base, folder);
  if (pinned !== undefined) return { source, digest: pinned, excludes };
  const recorded = running.find((version) => canonical(version.spec) === canonical(spec))?.workingDirectory;
  if (recorded !== undefined && !existsSync(source)) return recorded;
  return { source, digest: await digestDirectory(source, excludes), excludes };
}

interface Comparable {
  spec: ServiceSpec;
  workingDirectory?: { digest: string } | undefined;
}

/** The keys other than `applications` and `version_name` in which two versions differ, which no in-place update can change. */
export function differsOnlyInApplications(before: Comparable, after: Comparable): string[] {
  const [a, b] = [outsideOfApplications(before), outsideOfApplications(after)];
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  return keys.filter((key) => canonical(a[key] ?? null) !== canonical(b[key] ?? null));
}

function outsideOfApplications({ spec, workingDirectory }: Comparable): Record<string, unknown> {
  const { applications: _applications, version_name: _version, ...rest } = spec;
  return workingDirectory === undefined ? rest : { ...rest, working_dir: workingDirectory.digest };
}
