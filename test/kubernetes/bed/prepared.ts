import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { cacheFolder, type Folders, withCacheLock } from "./binaries";
import { startControlPlane } from "./controlPlane";
import { installDefinitions } from "./definitions";
import { Processes } from "./processes";

/** Parts that hold definitions. */
const WITH_DEFINITIONS = ["kuberay-definitions", "gateway-definitions"];

/**
 * What etcd holds once all definitions are taken, made once and kept in the cache: to read it takes the API server a
 * third of the work of taking the definitions.
 *
 * @returns a folder to copy etcd's data from
 */
export async function preparedState(folders: Folders, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const cache = cacheFolder(env);
  const made = ["etcd", "control-plane", ...WITH_DEFINITIONS].map((part) => basename(folders[part]!)).join(" ");
  const target = join(cache, `state-${createHash("sha256").update(made).digest("hex").slice(0, 12)}`);
  if (existsSync(target)) return target;
  await withCacheLock(env, process.stderr, async () => {
    if (!existsSync(target)) await prepare(target, folders);
  });
  return target;
}

async function prepare(target: string, folders: Folders): Promise<void> {
  const fresh = mkdtempSync(`${target}.fresh.`);
  const logs = join(fresh, "logs");
  mkdirSync(logs);
  const processes = new Processes(logs);
  try {
    const { api } = await startControlPlane(processes, fresh, folders);
    const crds = WITH_DEFINITIONS.map((part) => join(folders[part]!, "crds"));
    await installDefinitions(api, crds, processes);
    api.close();
    await processes.end("kube-apiserver");
    await processes.end("etcd", "SIGTERM");
    renameSync(join(fresh, "etcd"), target);
  } finally {
    await processes.stop();
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Gives a new etcd the prepared state. */
export function copyState(state: string, to: string): void {
  // etcd's spare log files are as large as all the rest.
  cpSync(state, to, { recursive: true, filter: (file) => !file.endsWith(".tmp") });
}
