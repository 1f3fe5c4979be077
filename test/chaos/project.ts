import { readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { readRecord } from "../../provider/local/clusterDirectory";
import { haproxyFiles } from "../../provider/local/haproxyConfig";
import { stopHaproxy } from "../../provider/local/haproxyProcess";
import { processesWithArgument } from "../../provider/local/process";
import { endCluster } from "../../provider/local/rayProcesses";
import { TestProject } from "../e2e/project";
import { writeFakePython } from "../fake/python";
import type { CrashOrder } from "./crash";
import { type Watched, watched } from "./stage";

/**
 * A user's folder in which only Ray is a fake: the command line, the Pulumi engine, the provider and HAProxy are those
 * that users get.
 */
export class ChaosProject extends TestProject {
  readonly python: string;

  constructor() {
    super();
    this.python = writeFakePython(this.folder);
    Object.assign(this.environment, { RAYSHIFT_PYTHON: this.python, PULUMI_SKIP_UPDATE_CHECK: "true" });
    this.writeConfig({ idleTimeoutSeconds: 1, drainTimeoutSeconds: 5, startupTimeoutSeconds: 60 });
  }

  /**
   * Runs a command of the driver; `kill` ends one of its processes at an instant.
   *
   * @param interruptAfterMs sends it a Ctrl-C after that time
   */
  watched(args: string[], kill?: CrashOrder["kill"], interruptAfterMs?: number): Promise<Watched> {
    const ran = watched(this, args, kill, haproxyFiles(this.directoryOf("load-balancer")).config);
    const timer =
      interruptAfterMs === undefined ? undefined : setTimeout(() => this.interruptDriver(), interruptAfterMs);
    return ran.finally(() => clearTimeout(timer));
  }

  /** A Ctrl-C for the command that holds the stack. */
  private interruptDriver(): void {
    const { home, name, stack } = this.project;
    try {
      const { pid } = JSON.parse(readFileSync(join(home, "run", `${name}-${stack}.lock`), "utf8")) as { pid: number };
      process.kill(pid, "SIGINT");
    } catch {
      // It has not begun, or is done.
    }
  }

  /** Ends whatever a failed run left, by the project's own processes, and removes the project. */
  override async remove(): Promise<void> {
    await this.rayshift("terminate");
    const directories = this.clusterDirectories();
    for (const directory of directories) await endCluster(directory, 0);
    const balancer = this.directoryOf("load-balancer");
    await stopHaproxy(balancer, 0, new AbortController().signal);
    for (const directory of [...directories, balancer]) rmSync(directory, { recursive: true, force: true });
    await super.remove([]);
  }

  /** Directories of this project's clusters, whatever became of them: each head is told its own. */
  private clusterDirectories(): string[] {
    const parent = dirname(this.directoryOf("load-balancer"));
    const own = (directory: string) => readRecord(directory)?.inputs.python === this.python;
    return readdirSync(parent)
      .map((name) => join(parent, name))
      .filter(own);
  }

  /** Heads of this project's clusters that run, wanted or not. */
  heads(): number[] {
    return processesWithArgument(this.python).map(({ pid }) => pid);
  }
}
