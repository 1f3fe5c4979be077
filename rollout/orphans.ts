import { readFileSync } from "node:fs";
import { identify, isAlive, processesNamed, signalProcess } from "../provider/local/process";

/** Environment variable by which an update is known to belong to a driver. */
const driverVariable = "RAYSHIFT_DRIVER";

const engine = "pulumi";
/** What an engine starts: its language host, and Pulumi's own plugins, of whose names the kernel keeps this much. */
const helpers = ["pulumi-language-nodejs", "pulumi-resource-"];

/** The environment that marks an update as this driver's. */
export function claimedBy(pid: number): Record<string, string> {
  const driver = identify(pid);
  return driver === undefined ? {} : { [driverVariable]: JSON.stringify(driver) };
}

/**
 * Whether a running process is an update whose driver is gone: it holds the stack's lock and nobody waits for it.
 * Unreadable or foreign processes are never orphans.
 */
export function isOrphan(pid: number): boolean {
  try {
    const entry = environmentOf(pid).find((line) => line.startsWith(`${driverVariable}=`));
    return entry !== undefined && !isAlive(JSON.parse(entry.slice(driverVariable.length + 1)));
  } catch {
    return false;
  }
}

/**
 * Ends the language hosts and plugins of drivers' updates whose engine was killed: Pulumi leaves them running, for ever or
 * for minutes, and nothing can reach them any more, while a plugin may go on with what the next update does otherwise. Those
 * of other people, and those that an engine still uses, are left alone.
 */
export function endHelpers(): void {
  for (const helper of helpers.flatMap(processesNamed)) {
    const ours = environmentOf(helper.pid).some((line) => line.startsWith(`${driverVariable}=`));
    if (ours && !processesNamed(engine).some(({ pid }) => pid === helper.parent)) signalProcess(helper, "SIGTERM");
  }
}

/** Lines of NAME=VALUE; none when the process is gone or another user's. */
function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return [];
  }
}
