import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Hierarchy {
  mountPoint: string;
  controllers: string[];
}

const POLL_MS = 50;
/** The kernel needs a moment to take a node with its pods down. */
const REMOVE_MS = 20_000;

/** Where control groups are made: in every hierarchy, those of version 1 and that of version 2 beside or instead of them. */
function hierarchies(): Hierarchy[] {
  const mounted = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , type]) => type === "cgroup" || type === "cgroup2");
  return mounted.map(([, mountPoint = "", , options = ""]) => ({ mountPoint, controllers: options.split(",") }));
}

/** Weight of a whole node beside single processes of the host; one of them has 1024. */
const CPU_SHARES = "4096";

/** Makes a group at the root of each hierarchy; its processes may run on every processor. */
export function makeControlGroup(name: string): void {
  for (const { mountPoint, controllers } of hierarchies()) {
    const own = join(mountPoint, name);
    mkdirSync(own, { recursive: true });
    if (controllers.includes("cpu")) writeFileSync(join(own, "cpu.shares"), CPU_SHARES);
    if (!controllers.includes("cpuset")) continue;
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      writeFileSync(join(own, file), readFileSync(join(mountPoint, file)));
    }
  }
}

/**
 * Removes a group and those in it, as soon as their processes are gone.
 *
 * @throws an error when some stay
 */
export function removeControlGroup(name: string): void {
  const end = Date.now() + REMOVE_MS;
  for (;;) {
    const left = controlGroupsOf(name).filter((folder) => !removeWithin(folder));
    if (left.length === 0) return;
    if (Date.now() >= end) throw new Error(`control groups whose processes do not end: ${left.join(", ")}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
  }
}

/** The group's folders that there are. */
export function controlGroupsOf(name: string): string[] {
  return hierarchies()
    .map(({ mountPoint }) => join(mountPoint, name))
    .filter((folder) => existsSync(folder));
}

/** Names of groups at the root of any hierarchy. */
export function controlGroups(): string[] {
  return [...new Set(hierarchies().flatMap(({ mountPoint }) => foldersIn(mountPoint)))];
}

function removeWithin(folder: string): boolean {
  for (const name of foldersIn(folder)) removeWithin(join(folder, name));
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap((each) => (each.isDirectory() ? [each.name] : []));
  } catch {
    return [];
  }
}
