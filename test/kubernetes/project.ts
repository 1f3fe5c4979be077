import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { ConfigFile } from "../../rollout/configFile";
import { openProject, type Project, packageRoot } from "../../rollout/project";
import { root } from "../setup/support";

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

const commandLine = join(packageRoot, "dist", "rollout", "cli", "main.js");

/** A user's folder with a service for Kubernetes, and a backend of its own; the engine finds the fake of Pulumi's plugin. */
export class KubernetesProject {
  readonly folder = mkdtempSync(join(tmpdir(), "rayshift-kubernetes-"));
  readonly environment: NodeJS.ProcessEnv;
  readonly project: Project;

  constructor(kubernetes: Record<string, unknown>, config: Record<string, unknown> = {}) {
    const home = join(this.folder, ".rayshift");
    mkdirSync(join(home, "state"), { recursive: true, mode: 0o700 });
    this.environment = {
      ...process.env,
      PATH: `${join(root, "test", "fake", "bin")}:${process.env.PATH}`,
      RAYSHIFT_HOME: home,
      PULUMI_BACKEND_URL: `file://${home}/state`,
      PULUMI_CONFIG_PASSPHRASE: "kubernetes",
    };
    Object.assign(process.env, this.environment);
    const all = { target: "kubernetes", kubernetes, startupTimeoutSeconds: 90, ...config };
    const named = Object.fromEntries(Object.entries(all).map(([key, value]) => [`rayshift:${key}`, value]));
    writeFileSync(join(this.folder, "Pulumi.dev.yaml"), stringify({ config: named }));
    this.project = openProject({ folder: this.folder });
  }

  /** A service file of the version: replicas of one GPU each, one a worker. */
  serviceFile(version: string, { replicas = 4, environment = {}, image = "rayproject/ray:2.52.1" } = {}): string {
    const file = join(this.folder, `${version}.yaml`);
    const service = {
      name: "versions",
      version_name: version,
      image_uri: image,
      env_vars: { VERSION: version, ...environment },
      applications: [{ import_path: "versions:app", deployments: [{ name: "Versions", num_replicas: replicas }] }],
      compute_config: {
        worker_nodes: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, min_nodes: 0, max_nodes: 8 }],
      },
    };
    writeFileSync(file, stringify(service));
    return file;
  }

  /** Sets keys of the service's config beside those that are there. */
  configure(values: Record<string, unknown>): void {
    new ConfigFile(this.project, this.environment).edit(values);
  }

  rayshift(...args: string[]): Promise<Ran> {
    return this.run(process.execPath, [commandLine, ...args], this.folder);
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
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && commandOf(name).includes(mark))
      .map(Number);
  }

  pulumi(...args: string[]): Promise<Ran> {
    const all = [...args, "--stack", "dev", "--non-interactive", "--color", "never"];
    return this.run("pulumi", all, this.project.folder);
  }

  /** Removes the folder; what runs is ended before by `terminate`. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private run(command: string, args: string[], cwd: string): Promise<Ran> {
    return new Promise((done) => {
      execFile(command, args, { cwd, env: this.environment, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
        done({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
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
