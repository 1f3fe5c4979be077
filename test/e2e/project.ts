import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stringify } from "yaml";
import { runtimeDirectory } from "../../components/local/host";
import { readRecord } from "../../provider/local/clusterDirectory";
import { clusterProcesses, endCluster } from "../../provider/local/rayProcesses";
import { ConfigFile } from "../../rollout/configFile";
import { ask, type Endpoint } from "../../rollout/demo/load";
import { openProject, type Project } from "../../rollout/project";

/** Root of the checkout; tests run from dist/. */
export const root = resolve(__dirname, "..", "..", "..");

const commandLine = join(root, "dist", "rollout", "cli", "main.js");

/** Replicas of the test's service at 100%, one GPU each. */
export const replicas = 4;

/** The version that answers a request, or the status or the cause of another ending. */
export async function versionAnswering(endpoint: Endpoint, headers: Record<string, string> = {}): Promise<string> {
  const ending = await ask(endpoint, "", headers);
  if ("error" in ending) return ending.error;
  return ending.status === 200 ? (JSON.parse(ending.body) as { version: string }).version : String(ending.status);
}

/** What a run of a program gave. */
export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** A user's empty folder with services in it, a home and a backend of its own. */
export class TestProject {
  readonly folder = mkdtempSync(join(tmpdir(), "rayshift-e2e-"));
  readonly environment: NodeJS.ProcessEnv;
  readonly project: Project;

  constructor() {
    const home = join(this.folder, ".rayshift");
    mkdirSync(join(home, "state"), { recursive: true, mode: 0o700 });
    this.environment = {
      ...process.env,
      RAYSHIFT_HOME: home,
      PULUMI_BACKEND_URL: `file://${home}/state`,
      PULUMI_CONFIG_PASSPHRASE: "end to end",
    };
    Object.assign(process.env, this.environment);
    this.writeConfig({ idleTimeoutSeconds: 3, drainTimeoutSeconds: 120, startupTimeoutSeconds: 240 });
    this.project = openProject({ folder: this.folder });
  }

  writeConfig(config: Record<string, unknown>): void {
    const named = Object.fromEntries(Object.entries(config).map(([key, value]) => [`rayshift:${key}`, value]));
    writeFileSync(join(this.folder, "Pulumi.dev.yaml"), stringify({ config: named }));
  }

  /** Sets one key of the service's config beside those that are there; takes it out when undefined. */
  setConfig(key: string, value: unknown): void {
    new ConfigFile(this.project).edit({ [key]: value });
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

  rayshift(...args: string[]): Promise<Ran> {
    return this.rayshiftWith({}, ...args);
  }

  rayshiftWith(environment: NodeJS.ProcessEnv, ...args: string[]): Promise<Ran> {
    return this.run(process.execPath, [commandLine, ...args], this.folder, environment);
  }

  /** A driver that is not waited for. */
  startRayshift(...args: string[]): ChildProcess {
    return spawn(process.execPath, [commandLine, ...args], {
      cwd: this.folder,
      env: this.environment,
      stdio: "ignore",
    });
  }

  /** Pids of the updates of this project's drivers that run. */
  engines(): number[] {
    const mark = `--event-log\0${this.project.home}/`;
    return existing("/proc")
      .filter((name) => /^\d+$/.test(name) && commandOf(name).includes(mark))
      .map(Number);
  }

  /** Whether an update holds the stack's lock. */
  isLocked(): boolean {
    const locks = join(this.project.home, "state", ".pulumi", "locks", "organization", this.project.name, "dev");
    return existing(locks).length > 0;
  }

  /** The plain CLI, in the service's project. */
  pulumi(...args: string[]): Promise<Ran> {
    return this.pulumiIn(this.project.folder, ...args);
  }

  pulumiIn(folder: string, ...args: string[]): Promise<Ran> {
    return this.run("pulumi", [...args, "--stack", "dev", "--non-interactive", "--color", "never"], folder);
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
    rmSync(this.folder, { recursive: true, force: true });
  }

  private run(command: string, args: string[], cwd: string, environment: NodeJS.ProcessEnv = {}): Promise<Ran> {
    return new Promise((done) => {
      execFile(
        command,
        args,
        { cwd, env: { ...this.environment, ...environment }, maxBuffer: 1 << 26 },
        (error, stdout, stderr) => done({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
      );
    });
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

function existing(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
