import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onInterrupt } from "./child.mjs";
import { readOrEmpty } from "./environment.mjs";

const pollMilliseconds = 500;

/**
 * Lets one set-up at a time change a project; a lock whose owner is gone is taken over.
 * @param {string} home
 * @param {(owner: string) => void} waiting called once when another set-up is at work
 * @returns {Promise<() => void>} gives the lock back
 */
export async function lockSetup(home, waiting) {
  const path = join(home, "setup.lock");
  const mine = `${process.pid} ${startOf(process.pid)}`;
  let told = false;
  while (!take(path, mine)) {
    const owner = readOrEmpty(path);
    const [pid, start] = owner.split(" ");
    if (owner !== "" && startOf(pid) !== start) {
      rmSync(path, { force: true });
      continue;
    }
    if (!told) waiting(pid);
    told = true;
    await sleep(pollMilliseconds);
  }
  const release = () => rmSync(path, { force: true });
  const done = onInterrupt(release);
  return () => {
    release();
    done();
  };
}

/** A link makes the lock appear together with its owner's name. */
function take(path, owner) {
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, owner, { mode: 0o600 });
  try {
    linkSync(fresh, path);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(fresh);
  }
}

/** When a process was started, which tells it from a later one with the same number; "gone" when it is not there. */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return isThere(Number(pid)) ? "running" : "gone";
  }
}

function isThere(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
