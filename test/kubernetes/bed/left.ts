import { readdirSync, readlinkSync } from "node:fs";

/** Processes in a network namespace, which is given as /proc/PID/ns/net has it. */
export function inNamespace(namespace: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`) === namespace;
      } catch {
        return false;
      }
    });
}
