import { accessSync, constants, existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { importSetup } from "../../../setup/support";
import { withCacheLock } from "../binaries";

interface Child {
  onInterrupt(cleanup: () => void): () => void;
  runHelper(command: string, args: string[], options: { env?: NodeJS.ProcessEnv; remedy: string }): Promise<string>;
}
interface ProgressModule {
  Progress: new (options: {
    stream: NodeJS.WritableStream;
    quiet: boolean;
  }) => { during(title: string, expected: string, work: () => Promise<string>): Promise<void> };
  describeFailure(error: unknown): string;
}

/** Where Debian has the plugins of the container network interface. */
export const CNI_PLUGINS = "/usr/lib/cni";

/** Debian packages by a file of each that the bed uses. */
const packages: Record<string, string> = {
  containerd: "containerd",
  "containerd-shim-runc-v2": "containerd",
  ctr: "containerd",
  runc: "runc",
  [join(CNI_PLUGINS, "bridge")]: "containernetworking-plugins",
  [join(CNI_PLUGINS, "portmap")]: "containernetworking-plugins",
  iptables: "iptables",
  ipset: "ipset",
  conntrack: "conntrack",
  debootstrap: "debootstrap",
  mount: "mount",
  ip: "iproute2",
};

/** System programs are where a plain user's PATH may not lead. */
export const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const POLICY = "/usr/sbin/policy-rc.d";

/** Debian packages that are not there, by the files that the bed uses of them. */
export function missingPackages(path = systemPath): string[] {
  const isThere = (file: string) =>
    file.startsWith("/") ? existsSync(file) : path.split(":").some((folder) => isExecutable(join(folder, file)));
  return [...new Set(Object.entries(packages).flatMap(([file, name]) => (isThere(file) ? [] : [name])))];
}

/**
 * Why a node cannot run on this host, with the remedy; undefined when it can, or when what is missing can be installed.
 */
export function whyNoNode(missing = missingPackages()): string | undefined {
  if (process.platform !== "linux") return "a node of Kubernetes runs on Linux only";
  if (process.getuid?.() !== 0) return "a node of Kubernetes is run by root only: run this as root";
  if (missing.length === 0 || existsSync("/usr/bin/apt-get")) return undefined;
  return `a node of Kubernetes needs ${missing.join(", ")} (names of Debian packages), and there is no apt: install them`;
}

/**
 * Installs the Debian packages that a node needs and the host lacks. What is there already is left as it is, and nothing
 * of the host is removed or started.
 *
 * @throws an error that names the packages and what to do
 */
export async function installPackages(stream: NodeJS.WritableStream = process.stderr): Promise<void> {
  const missing = missingPackages();
  const why = whyNoNode(missing);
  if (why !== undefined) throw new Error(why);
  if (missing.length === 0) return;
  const { Progress, describeFailure } = await importSetup<ProgressModule>("progress.mjs");
  const { onInterrupt, runHelper } = await importSetup<Child>("child.mjs");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const remedy = `install them yourself: apt-get install --no-install-recommends ${missing.join(" ")}`;
  const apt = (...args: string[]) => runHelper("apt-get", ["-q", "-y", ...args], { env, remedy });
  try {
    await withCacheLock(process.env, stream, async () => {
      const progress = new Progress({ stream, quiet: false });
      await progress.during(
        `Debian packages ${missing.join(", ")}`,
        "installs them, takes about a minute",
        async () => {
          const startAgain = keepServicesOff();
          const done = onInterrupt(startAgain);
          try {
            await apt("update");
            await apt("install", "--no-install-recommends", "--no-remove", ...missing);
          } finally {
            startAgain();
            done();
          }
          return "installed";
        },
      );
    });
  } catch (error) {
    throw new Error(describeFailure(error));
  }
}

/** The package of containerd would start one for the whole host. */
function keepServicesOff(): () => void {
  if (existsSync(POLICY)) return () => {};
  writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  return () => rmSync(POLICY, { force: true });
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
