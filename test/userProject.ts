import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { processesNamed } from "../provider/local/process";
import { ConfigFile } from "../rollout/configFile";
import { openProject, type Project, packageRoot } from "../rollout/project";

/** The program behind `rayshift`. */
export const commandLine = join(packageRoot, "dist", "rollout", "cli", "main.js");

/** What a run of a program gave. */
export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** A user's folder with a stack's config, a home and a backend of its own, and the two command lines in it. */
export class UserProject {
  readonly folder: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly project: Project;

  /**
   * @param kind part of the folder's name, and the passphrase of its stacks
   * @param config the service's keys
   */
  constructor(kind: string, config: Record<string, unknown>, environment: NodeJS.ProcessEnv = {}) {
    this.folder = mkdtempSync(join(tmpdir(), `rayshift-${kind}-`));
    const home = join(this.folder, ".rayshift");
    mkdirSync(join(home, "state"), { recursive: true, mode: 0o700 });
    this.environment = {
      ...process.env,
      RAYSHIFT_HOME: home,
      PULUMI_BACKEND_URL: `file://${home}/state`,
      PULUMI_CONFIG_PASSPHRASE: kind,
      ...environment,
    };
    Object.assign(process.env, this.environment);
    this.writeConfig(config);
    this.project = openProject({ folder: this.folder });
  }

  /** The service's config, with these keys and no others. */
  writeConfig(config: Record<string, unknown>): void {
    const named = Object.fromEntries(Object.entries(config).map(([key, value]) => [`rayshift:${key}`, value]));
    writeFileSync(join(this.folder, "Pulumi.dev.yaml"), stringify({ config: named }));
  }

  /** Sets keys of the service's config beside those that are there; takes out those that are undefined. */
  configure(values: Record<string, unknown>): void {
    new ConfigFile(this.project, this.environment).edit(values);
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
      .filter((name) => /^\d+$/.test(name) && textOf(`/proc/${name}/cmdline`).includes(mark))
      .map(Number);
  }

  /** Pids of the language hosts and plugins of this project's engines, alive or killed. */
  helpers(): number[] {
    const mark = `RAYSHIFT_HOME=${this.project.home}\0`;
    const all = ["pulumi-language-nodejs", "pulumi-resource-"].flatMap(processesNamed).map(({ pid }) => pid);
    return all.filter((pid) => textOf(`/proc/${pid}/environ`).includes(mark));
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

  removeFolder(): void {
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

/** The names in a folder; none when there is no such folder. */
export function existing(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Empty where there is no such file, or it may not be read. */
function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
