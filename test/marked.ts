import type { ChildProcess } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** A variable that processes of a test, and theirs, have in their environment, so that all of them can be ended. */
const VARIABLE = "RAYSHIFT_TEST_RAY";

/** For the environment of the first of them. */
export const markedBy = (mark: string): NodeJS.ProcessEnv => ({ [VARIABLE]: mark });

/** Ends whatever has the mark: the given processes are asked, and after 10 s all are ended by force. */
export async function endMarked(mark: string, asked: readonly ChildProcess[]): Promise<void> {
  for (const child of asked) child.kill("SIGTERM");
  for (const deadline = Date.now() + 15_000; ; await sleep(200)) {
    const pids = await marked(mark);
    if (pids.length === 0) return;
    if (Date.now() < deadline - 5_000) continue;
    if (Date.now() > deadline) throw new Error(`processes of the test's Ray do not end: ${pids.join(", ")}`);
    for (const pid of pids) tryKill(pid);
  }
}

async function marked(mark: string): Promise<number[]> {
  const text = `${VARIABLE}=${mark}\0`;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => (await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "")).includes(text)),
  );
  return pids.filter((_, index) => found[index]).map(Number);
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
