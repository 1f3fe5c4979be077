import { readFileSync } from "node:fs";
import { identify, isAlive } from "../provider/local/process";

/** Environment variable by which an update is known to belong to a driver. */
const driverVariable = "RAYSHIFT_DRIVER";

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
    const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    const entry = environment.find((line) => line.startsWith(`${driverVariable}=`));
    return entry !== undefined && !isAlive(JSON.parse(entry.slice(driverVariable.length + 1)));
  } catch {
    return false;
  }
}
