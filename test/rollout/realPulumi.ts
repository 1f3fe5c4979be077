import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigFile } from "../../rollout/configFile";
import { openProject, packageRoot } from "../../rollout/project";

/**
 * A project folder with a backend of its own for the real CLI, with a program that declares nothing: for what the CLI
 * itself keeps, its history and its config. The environment of this process is set to it until it is removed.
 */
export class RealPulumi {
  readonly folder = mkdtempSync(join(tmpdir(), "rayshift-pulumi-"));
  readonly configFile = join(this.folder, "Pulumi.dev.yaml");
  private readonly before = { ...process.env };

  constructor() {
    const state = join(this.folder, "state");
    mkdirSync(state);
    writeFileSync(join(this.folder, "Pulumi.yaml"), "name: rayshift\nruntime: nodejs\nmain: program.js\n");
    writeFileSync(join(this.folder, "package.json"), '{"name": "nothing"}');
    writeFileSync(join(this.folder, "program.js"), "");
    symlinkSync(join(packageRoot, "node_modules"), join(this.folder, "node_modules"));
    delete process.env.RAYSHIFT_HOME;
    delete process.env.PULUMI_CONFIG_PASSPHRASE_FILE;
    Object.assign(process.env, {
      PULUMI_BACKEND_URL: `file://${state}`,
      PULUMI_CONFIG_PASSPHRASE: "for this test",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    });
  }

  /** Runs the CLI and gives what it prints; throws when it fails. */
  run(args: string[], input = ""): Promise<string> {
    return new Promise((done, fail) => {
      const all = [...args, "--stack", "dev", "--non-interactive", "--color", "never"];
      const child = execFile("pulumi", all, { cwd: this.folder }, (error, stdout, stderr) =>
        error === null ? done(stdout) : fail(new Error(`${error.message}\n${stdout}\n${stderr}`)),
      );
      child.stdin?.end(input);
    });
  }

  /** Sets and, where undefined, removes keys of the namespace in the config file. */
  configure(values: Record<string, unknown>): void {
    new ConfigFile(openProject({ folder: this.folder })).edit(values);
  }

  remove(): void {
    for (const name of Object.keys(process.env)) if (!(name in this.before)) delete process.env[name];
    Object.assign(process.env, this.before);
    rmSync(this.folder, { recursive: true });
  }
}
