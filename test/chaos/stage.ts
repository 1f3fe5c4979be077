import { join } from "node:path";
import { root } from "../setup/support";
import type { Ran, UserProject } from "../userProject";
import { type CrashOrder, type LogLine, orderVariable, readLog, type Victim } from "./crash";

/** A command of the driver, under the eyes of crash.ts. */
export interface Watched extends Ran {
  log: LogLine[];
}

/** A service of one target whose commands are broken off, and how it is looked at from outside. */
export interface Stage {
  /** Who can be killed there. */
  readonly victims: readonly Victim[];
  rayshift(...args: string[]): Promise<Ran>;
  /** The same under the eyes of crash.ts; `kill` ends one of its processes at an instant. */
  watched(args: string[], kill?: CrashOrder["kill"]): Promise<Watched>;
  serviceFile(version: string): string;
  /** Deploys the first version. */
  begin(version: string): Promise<void>;
  /**
   * Runs something under the eyes of the invariants and with users who ask all the time.
   *
   * @param balancerKills when the load balancer was killed, ms: until it runs anew nobody can answer
   */
  observed<T>(run: () => Promise<T>, balancerKills?: () => number[]): Promise<{ result: T; problems: string[] }>;
  /** What is wrong with a service at rest in which `wanted` should run alone. */
  problemsAtRest(wanted: string): Promise<string[]>;
  /** What an update would still change; empty when nothing. */
  problemsOfPreview(): Promise<string[]>;
}

let commands = 0;

/**
 * Runs a command of the driver in a project; `kill` ends one of its processes at an instant.
 *
 * @param haproxyConfig tells the load balancer's process from others; absent: it is no process of this host
 */
export async function watched(
  project: UserProject,
  args: readonly string[],
  kill?: CrashOrder["kill"],
  haproxyConfig?: string,
): Promise<Watched> {
  const log = join(project.folder, `effects-${commands++}.jsonl`);
  const order: CrashOrder = {
    log,
    ...(haproxyConfig === undefined ? {} : { haproxyConfig }),
    ...(kill === undefined ? {} : { kill }),
  };
  const crash = join(root, "dist", "test", "chaos", "crash.js");
  const environment = { NODE_OPTIONS: `--require=${crash}`, [orderVariable]: JSON.stringify(order) };
  const ran = await project.rayshiftWith(environment, ...args);
  return { ...ran, log: readLog(log) };
}

/** What an update in a project would still change; empty when nothing. */
export async function problemsOfPreview(project: UserProject): Promise<string[]> {
  const { code, stdout, stderr } = await project.pulumi("preview", "--expect-no-changes");
  return code === 0 ? [] : [`an update would change something: ${stdout}${stderr}`];
}
