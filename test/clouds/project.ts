import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { openProject, type Project, packageRoot } from "../../rollout/project";
import { root } from "../setup/support";

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

const commandLine = join(packageRoot, "dist", "rollout", "cli", "main.js");

/** A user's folder with a service for a cloud, and a backend of its own; the engine finds the fakes of Pulumi's plugins. */
export class CloudProject {
  readonly folder = mkdtempSync(join(tmpdir(), "rayshift-cloud-"));
  readonly environment: NodeJS.ProcessEnv;
  readonly project: Project;

  constructor(
    private readonly target: "aws" | "gcp",
    settings: Record<string, unknown>,
    cloud: NodeJS.ProcessEnv,
    config: Record<string, unknown> = {},
  ) {
    const home = join(this.folder, ".rayshift");
    mkdirSync(join(home, "state"), { recursive: true, mode: 0o700 });
    this.environment = {
      ...process.env,
      ...cloud,
      PATH: `${join(root, "test", "fake", "bin")}:${process.env.PATH}`,
      RAYSHIFT_HOME: home,
      PULUMI_BACKEND_URL: `file://${home}/state`,
      PULUMI_CONFIG_PASSPHRASE: "cloud",
    };
    Object.assign(process.env, this.environment);
    const all = { target, [target]: settings, startupTimeoutSeconds: 60, ...config };
    const named = Object.fromEntries(Object.entries(all).map(([key, value]) => [`rayshift:${key}`, value]));
    writeFileSync(join(this.folder, "Pulumi.dev.yaml"), stringify({ config: named }));
    this.project = openProject({ folder: this.folder });
  }

  /** A service file of the version: replicas of one GPU each, one a worker. */
  serviceFile(version: string, { replicas = 4, environment = {} } = {}): string {
    const [head, worker] = this.target === "aws" ? ["m5.large", "g5.xlarge"] : ["n2-standard-4", "g2-standard-4"];
    const file = join(this.folder, `${version}.yaml`);
    const service = {
      name: "versions",
      version_name: version,
      image_uri: "rayproject/ray:2.60.0-py311-gpu",
      env_vars: { VERSION: version, ...environment },
      applications: [{ import_path: "versions:app", deployments: [{ name: "Versions", num_replicas: replicas }] }],
      compute_config: {
        head_node: { instance_type: head },
        worker_nodes: [{ name: "gpu", instance_type: worker, min_nodes: 0, max_nodes: 8 }],
      },
    };
    writeFileSync(file, stringify(service));
    return file;
  }

  rayshift(...args: string[]): Promise<Ran> {
    return this.run(process.execPath, [commandLine, ...args], this.folder);
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
