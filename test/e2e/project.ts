import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { runtimeDirectory } from "../../components/local/host";
import { readRecord } from "../../provider/local/clusterDirectory";
import { clusterProcesses, endCluster } from "../../provider/local/rayProcesses";
import { ask, type Endpoint } from "../../rollout/demo/load";
import { root } from "../setup/support";
import { existing, UserProject } from "../userProject";

/** Replicas of the test's service at 100%, one GPU each. */
export const replicas = 4;

/** The version that answers a request, or the status or the cause of another ending. */
export async function versionAnswering(endpoint: Endpoint, headers: Record<string, string> = {}): Promise<string> {
  const ending = await ask(endpoint, "", headers);
  if ("error" in ending) return ending.error;
  return ending.status === 200 ? (JSON.parse(ending.body) as { version: string }).version : String(ending.status);
}

/** A user's folder with services for this host. */
export class TestProject extends UserProject {
  constructor() {
    super("e2e", { idleTimeoutSeconds: 3, drainTimeoutSeconds: 120, startupTimeoutSeconds: 240 });
  }

  /** A service of the version as a value, as a YAML file would give it. */
  service(version: string, environment: Record<string, string> = {}): Record<string, unknown> {
    return {
      name: "versions",
      version_name: version,
      working_dir: join(root, "test", "e2e", "app"),
      env_vars: { VERSION: version, ...environment },
      applications: [
        {
          import_path: "versions:app",
          deployments: [{ name: "Versions", num_replicas: replicas, max_ongoing_requests: 20 }],
        },
      ],
      compute_config: {
        worker_nodes: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, min_nodes: 0, max_nodes: 8 }],
      },
    };
  }

  /** The same as a file. */
  serviceFile(version: string, environment: Record<string, string> = {}): string {
    const file = join(this.folder, `${version}.yaml`);
    writeFileSync(file, stringify(this.service(version, environment)));
    return file;
  }

  directoryOf(part: string): string {
    const { home, name, stack } = this.project;
    return runtimeDirectory({ home, project: name, stack, part });
  }

  /** Pids of the head of a version's cluster, by name; empty when it does not run. */
  headPid(version: string): number | undefined {
    return readRecord(this.directoryOf(`cluster-${version}`))?.head?.pid;
  }

  /** What of these parts still runs or lies about. */
  leftovers(versions: readonly string[]): string[] {
    const parts = [...versions.map((version) => `cluster-${version}`), "load-balancer"];
    return parts.flatMap((part) => {
      const directory = this.directoryOf(part);
      const processes = clusterProcesses(directory).map(({ pid, name }) => `${part}: process ${pid} (${name})`);
      const parent = join(directory, "..");
      const key = directory.slice(parent.length + 1);
      const files = existing(parent).filter((file) => file.startsWith(key));
      return [...processes, ...files.map((file) => `${part}: ${file}`)];
    });
  }

  /** Ends what a failed test left, by its folders, and removes the project. */
  async remove(versions: readonly string[]): Promise<void> {
    await this.rayshift("terminate");
    for (const version of versions) await endCluster(this.directoryOf(`cluster-${version}`), 0);
    this.removeFolder();
  }
}
