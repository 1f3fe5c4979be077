import { randomUUID } from "node:crypto";
import { closeSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identify, isAlive, type ProcessIdentity } from "./process";

interface Holder extends ProcessIdentity {
  /** What holds the lock, in words for people. */
  owner: string;
  since: string;
  /** Tells two locks of the same process apart. */
  id: string;
}

/** Somebody else works on the directory, and went on doing so for as long as could be waited. */
export class LockHeld extends Error {
  override readonly name = "LockHeld";
  constructor(
    directory: string,
    /** What holds the lock, in words for people. */
    readonly owner: string,
    readonly pid: number,
    /** ISO time. */
    readonly since: string,
  ) {
    super(
      `${directory} is in use by ${owner} (pid ${pid}, since ${since}). ` +
        "Wait until it is done, or end that process, and run the command again.",
    );
  }
}

const POLL_MS = 100;
const PATIENCE_MS = 60_000;
/** Breaking a dead holder's lock takes well under a millisecond; a break older than this was itself interrupted. */
const BREAK_MS = 10_000;

/**
 * Runs `fn` while nobody else works on `directory` (which need not exist: the lock file lies beside it, at
 * `<directory>.lock`). A lock whose holder no longer runs is taken over; one whose holder runs is waited for.
 *
 * @param owner what holds the lock, for the message of whoever finds it held
 * @param signal ends the waiting
 * @param patienceMs longest wait for a living holder
 * @param fn is given a question: whether the lock is still this one's, or somebody took it away; and whether it was taken
 *   over from a holder that was killed
 */
export async function withLock<T>(
  directory: string,
  owner: string,
  fn: (held: () => boolean, takenOver: boolean) => Promise<T>,
  signal: AbortSignal,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const file = `${directory}.lock`;
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const self = identify(process.pid);
  if (self === undefined) throw new Error("this process cannot be found in /proc: the local target needs Linux");
  const holder: Holder = { ...self, owner, since: new Date().toISOString(), id: randomUUID() };

  const end = Date.now() + patienceMs;
  let takenOver = false;
  for (;;) {
    takenOver ||= isDead(readHolder(file));
    if (acquire(file, holder)) break;
    const other = readHolder(file);
    if (Date.now() >= end && other !== undefined) {
      throw new LockHeld(directory, other.owner, other.pid, other.since);
    }
    await sleep(POLL_MS, undefined, { signal });
  }
  try {
    return await fn(() => readHolder(file)?.id === holder.id, takenOver);
  } finally {
    if (readHolder(file)?.id === holder.id) rmSync(file, { force: true });
  }
}

const isDead = (holder: Holder | undefined) => holder !== undefined && !isAlive(holder);

function acquire(file: string, holder: Holder): boolean {
  const current = readHolder(file);
  if (current !== undefined) {
    if (isAlive(current)) return false;
    if (!breakLock(file, current)) return false;
  }
  // A link of a finished file: nobody ever sees a lock without its holder in it.
  const draft = `${file}.${holder.id}`;
  writeFileSync(draft, JSON.stringify(holder), { mode: 0o600 });
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Removes the lock of a dead holder. Only one process at a time may: otherwise the slower of two could remove the lock
 * that the faster has just taken.
 */
function breakLock(file: string, dead: Holder): boolean {
  const breaking = `${file}.break`;
  try {
    closeSync(openSync(breaking, "wx", 0o600));
  } catch {
    const age = Date.now() - (statSync(breaking, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > BREAK_MS) rmSync(breaking, { force: true });
    return false;
  }
  try {
    if (readHolder(file)?.id === dead.id) rmSync(file, { force: true });
    return true;
  } finally {
    rmSync(breaking, { force: true });
  }
}

function readHolder(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(
      `the lock file ${file} cannot be read (${(error as Error).message}). Remove it and run the command again.`,
    );
  }
}
