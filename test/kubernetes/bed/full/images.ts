import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { importSetup, root } from "../../../setup/support";
import { cacheFolder, type Folders, withCacheLock } from "../binaries";
import { installPackages, systemPath } from "./debianPackages";
import { writeImageLayout } from "./imageLayout";

interface Child {
  onInterrupt(cleanup: () => void): () => void;
  runHelper(
    command: string,
    args: string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv; remedy: string },
  ): Promise<string>;
}
interface ProgressModule {
  Progress: new (options: {
    stream: NodeJS.WritableStream;
    quiet: boolean;
  }) => { during(title: string, expected: string, work: () => Promise<string>): Promise<void> };
  SetupError: new (message: string, details: { remedy: string; exitCode?: number }) => Error;
  describeFailure(error: unknown): string;
}
interface Checks {
  findOnPath(name: string, path: string | undefined): string | undefined;
  findPython(env: NodeJS.ProcessEnv): Promise<{ executable: string; version: string }>;
}

/** Ray's version is that of the local target: the same pinned packages. */
const requirements = join(root, "setup", "python", "requirements.txt");
const rayVersion = /^ray==(\S+)/m.exec(readFileSync(requirements, "utf8"))![1]!;
const app = join(root, "test", "e2e", "app", "versions.py");

/** A service's image: Debian, Ray, and the code of the end-to-end tests' service. */
export const RAY_IMAGE = `rayshift.local/ray:${rayVersion}`;
/** What runs beside Ray, by its path: pause, CoreDNS, KubeRay's operator, Envoy Gateway, Envoy. */
export const SYSTEM_IMAGE = "rayshift.local/system:bed";
/** Of the system image, for what need not be root. */
export const NOBODY = 65532;

const SUITE = "bookworm";
/** Of that suite. */
const PYTHON = "3.11";
/** KubeRay's probes call wget; Redis is for tests of heads whose state it keeps. */
const DEBIAN_PACKAGES = ["python3", "wget", "ca-certificates", "redis-server"];
const site = join("usr", "local", "lib", `python${PYTHON}`, "dist-packages");
/** What Envoy is linked with. */
const LIBRARIES = /^(libm|librt|libdl|libpthread|libc|libnss_dns|libnss_files|libresolv)\.so\.\d+$/;

/** A pod's share of the processors is Kubernetes' business: what Ray makes nice gets none of them beside a busy head. */
const rayEnvironment = { RAY_USAGE_STATS_ENABLED: "0", RAY_worker_niceness: "0" };

/** Python's packages have their commands written for the Python that installed them. */
const commands: Record<string, string> = {
  ray: "from ray.scripts.scripts import main",
  serve: "from ray.serve.scripts import cli as main",
};

/**
 * Makes the images of a bed and keeps them: what Debian and Ray are made of once, and what comes on top of it again when
 * it changes. Root only.
 *
 * @param envoy executable
 * @returns folders with an OCI layout each
 * @throws an error that says what failed and what to do
 */
export async function buildImages(
  folders: Folders,
  envoy: string,
  env: NodeJS.ProcessEnv = process.env,
  stream: NodeJS.WritableStream = process.stderr,
): Promise<string[]> {
  await installPackages(stream);
  const base = join(
    cacheFolder(env),
    `debian-${SUITE}-${digestOf(DEBIAN_PACKAGES, readFileSync(requirements), commands, LIBRARIES.source)}`,
  );
  const programs = programsOf(folders, envoy);
  const what = [basename(base), readFileSync(app), Object.values(programs), rayEnvironment];
  const images = join(cacheFolder(env), `images-${digestOf(...what)}`);
  const layouts = ["ray", "system"].map((name) => join(images, name));
  if (existsSync(images)) return layouts;
  const { Progress, describeFailure } = await importSetup<ProgressModule>("progress.mjs");
  const progress = new Progress({ stream, quiet: false });
  const step = (folder: string, title: string, expected: string, fill: (fresh: string) => Promise<void>) =>
    existsSync(folder) ? undefined : progress.during(title, expected, () => made(folder, fill));
  try {
    await withCacheLock(env, stream, async () => {
      const title = `Kubernetes test bed, Debian ${SUITE} with Ray ${rayVersion}`;
      await step(base, title, "makes it once, takes 3 to 5 minutes", (fresh) => makeBase(fresh, env));
      await step(images, "Kubernetes test bed, images", "takes half a minute", (fresh) =>
        makeImages(fresh, base, programs),
      );
    });
  } catch (error) {
    throw new Error(describeFailure(error));
  }
  return layouts;
}

/** Executables by their names in the system image. */
function programsOf(folders: Folders, envoy: string): Record<string, string> {
  return {
    pause: join(folders.coredns!, "pause"),
    coredns: join(folders.coredns!, "coredns"),
    "kuberay-operator": join(folders["control-plane"]!, "kuberay-operator"),
    "envoy-gateway": join(folders["envoy-gateway"]!, "envoy-gateway"),
    envoy,
  };
}

/** `layer.tar`: Debian with Ray; `libraries/`: what a program that is not static needs. */
async function makeBase(fresh: string, env: NodeJS.ProcessEnv): Promise<void> {
  const debian = join(fresh, "debian");
  const remedy = "see the message above; check that Debian's packages can be downloaded, then run this again";
  const variant = ["--variant=minbase", `--include=${DEBIAN_PACKAGES.join(",")}`];
  await run("debootstrap", [...variant, SUITE, debian], remedy);
  await installRay(join(debian, site), env);
  for (const [name, main] of Object.entries(commands)) {
    const text = `#!/usr/bin/python3\nimport sys\n${main}\nsys.exit(main())\n`;
    writeFileSync(join(debian, "usr", "local", "bin", name), text, { mode: 0o755 });
  }
  symlinkSync("python3", join(debian, "usr", "bin", "python"));
  // Else every pod compiles all of it again.
  await run("chroot", [debian, "python3", "-m", "compileall", "-q", "-j", "2", `/${site}`], remedy).catch(() => "");
  for (const folder of ["var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/locale"]) {
    rmSync(join(debian, folder), { recursive: true, force: true });
  }
  for (const folder of ["var/lib/apt/lists", "var/log"]) mkdirSync(join(debian, folder), { recursive: true });
  await copyLibraries(debian, join(fresh, "libraries"));
  await pack(debian, join(fresh, "layer.tar"));
  rmSync(debian, { recursive: true, force: true });
}

async function installRay(target: string, env: NodeJS.ProcessEnv): Promise<void> {
  const { findOnPath, findPython } = await importSetup<Checks>("checks.mjs");
  const { SetupError } = await importSetup<ProgressModule>("progress.mjs");
  const { executable, version } = await findPython(env);
  const what = ["--target", target, "--python-version", PYTHON, "--require-hashes", "--only-binary", ":all:"];
  const uv = findOnPath("uv", env.PATH);
  const remedy = "see the message above; check the network and the package index pip is set to, then run this again";
  if (uv !== undefined) {
    await run(
      uv,
      ["pip", "install", "--python", executable, "--link-mode", "copy", ...what, "-r", requirements],
      remedy,
    );
    return;
  }
  // pip chooses between the pinned releases by the Python that runs it.
  if (!version.startsWith(`${PYTHON}.`)) {
    throw new SetupError(
      `Ray for the image has to be chosen by Python ${PYTHON} or by uv, and this is Python ${version}`,
      {
        remedy: `install uv, or set RAYSHIFT_BASE_PYTHON to a Python ${PYTHON}`,
        exitCode: 2,
      },
    );
  }
  const quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"];
  await run(executable, ["-I", "-m", "pip", "install", ...quiet, ...what, "-r", requirements], remedy);
}

async function copyLibraries(debian: string, to: string): Promise<void> {
  const triple = readdirSync(join(debian, "lib")).find((name) => name.endsWith("-linux-gnu"))!;
  const own = join("lib", triple);
  mkdirSync(join(to, own), { recursive: true });
  for (const name of readdirSync(join(debian, own)).filter((each) => LIBRARIES.test(each))) {
    copyFileSync(join(debian, own, name), join(to, own, name));
  }
  // The loader's name, by which programs call it, is a link that leads into this Debian's root.
  for (const folder of ["lib", "lib64"].filter((each) => existsSync(join(debian, each)))) {
    for (const name of readdirSync(join(debian, folder)).filter((each) => each.startsWith("ld-linux"))) {
      mkdirSync(join(to, folder), { recursive: true });
      copyFileSync(join(debian, own, name), join(to, folder, name));
    }
  }
}

async function makeImages(fresh: string, base: string, programs: Record<string, string>): Promise<void> {
  const code = join(fresh, "code");
  mkdirSync(join(code, site), { recursive: true });
  copyFileSync(app, join(code, site, basename(app)));
  await pack(code, join(fresh, "code.tar"));
  await writeImageLayout(join(fresh, "ray"), {
    name: RAY_IMAGE,
    layers: [join(base, "layer.tar"), join(fresh, "code.tar")],
    environment: rayEnvironment,
  });
  const system = join(fresh, "files");
  for (const folder of ["tmp", "etc", "usr/local/bin"]) mkdirSync(join(system, folder), { recursive: true });
  chmodSync(join(system, "tmp"), 0o1777);
  writeFileSync(
    join(system, "etc", "passwd"),
    `root:x:0:0:root:/:/bin/false\nnobody:x:${NOBODY}:${NOBODY}::/:/bin/false\n`,
  );
  writeFileSync(join(system, "etc", "nsswitch.conf"), "hosts: files dns\n");
  for (const [name, file] of Object.entries(programs)) {
    const own = join(system, "usr", "local", "bin", name);
    linkSync(file, own);
  }
  await run("cp", ["-a", `${join(base, "libraries")}/.`, system], "see the message above");
  await pack(system, join(fresh, "system.tar"));
  await writeImageLayout(join(fresh, "system"), {
    name: SYSTEM_IMAGE,
    layers: [join(fresh, "system.tar")],
    entrypoint: ["/usr/local/bin/pause"],
    user: `${NOBODY}:${NOBODY}`,
  });
  for (const each of ["code", "code.tar", "files", "system.tar"]) {
    rmSync(join(fresh, each), { recursive: true, force: true });
  }
}

/** The same files give the same archive. */
async function pack(folder: string, archive: string): Promise<void> {
  const same = ["--sort=name", "--mtime=@0", "--numeric-owner", "--owner=0", "--group=0"];
  const without = ["proc", "sys", "dev"].map((each) => `--exclude=./${each}/*`);
  const remedy = "see the message above; check that the disk has 5 GB free, then run this again";
  await run("tar", [...same, ...without, "-C", folder, "-cf", archive, "."], remedy);
}

async function run(command: string, args: string[], remedy: string): Promise<string> {
  const { runHelper } = await importSetup<Child>("child.mjs");
  const env = { ...process.env, PATH: `${process.env.PATH}:${systemPath}` };
  return runHelper(command, args, { env, remedy });
}

/** A folder of the cache is there as a whole or not at all. */
async function made(folder: string, fill: (fresh: string) => Promise<void>): Promise<string> {
  const { onInterrupt } = await importSetup<Child>("child.mjs");
  const fresh = mkdtempSync(`${folder}.fresh.`);
  const remove = () => rmSync(fresh, { recursive: true, force: true });
  const done = onInterrupt(remove);
  try {
    await fill(fresh);
    renameSync(fresh, folder);
  } finally {
    remove();
    done();
  }
  return folder;
}

function digestOf(...what: unknown[]): string {
  const hash = createHash("sha256");
  for (const each of what) hash.update(Buffer.isBuffer(each) ? each : JSON.stringify(each));
  return hash.digest("hex").slice(0, 12);
}
