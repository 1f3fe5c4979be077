import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { effect, effectNow } from "../effects";
import { AdminError, ask, command, readServers } from "./haproxyAdmin";
import { FRONTEND, haproxyConfig, haproxyFiles, portOf, type Routing } from "./haproxyConfig";
import { endProcess, type ProcessIdentity, portHolder, processesWithArgument } from "./process";

/** Where a port is chosen: below the range that the kernel takes for outgoing connections, so that it is still free at a restart. */
const PORTS = { first: 20_000, count: 10_000 };
const END_STEPS = [
  { signal: "SIGUSR1", waitMs: 2000 },
  { signal: "SIGTERM", waitMs: 2000 },
  { signal: "SIGKILL", waitMs: 2000 },
] as const;
const POLL_MS = 100;
/** For how long a port that no process has is waited for. */
const RELEASE_MS = 2000;

/** The HAProxy that runs for this directory. Found by its configuration file's path, so also after a create that was killed. */
export function runningHaproxy(directory: string): ProcessIdentity | undefined {
  return processesWithArgument(haproxyFiles(directory).config)[0];
}

/** Writes all files that HAProxy starts from, each at once or not at all, readable for their owner only. */
export function writeFiles(directory: string, routing: Routing): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  effectNow("write HAProxy's files", directory, () => {
    for (const [file, text] of Object.entries(haproxyConfig(directory, routing))) {
      const draft = `${file}.new`;
      writeFileSync(draft, text, { mode: 0o600 });
      renameSync(draft, file);
    }
  });
}

/** The port of the last start in this directory. */
export function lastPort(directory: string): number | undefined {
  const { config } = haproxyFiles(directory);
  return existsSync(config) ? portOf(readFileSync(config, "utf8")) : undefined;
}

/** Throws when something listens on the port. */
export async function requireFreePort(port: number): Promise<void> {
  const end = Date.now() + RELEASE_MS;
  while (!(await isFree(port))) {
    // A process that was killed just now keeps its port until the last of its threads is gone, and has no files any more.
    if (portHolder(port) !== undefined || Date.now() >= end) throw portInUse(port);
    await sleep(POLL_MS);
  }
}

/** A free port on 127.0.0.1, for one directory always the same if it can be. */
export async function choosePort(directory: string): Promise<number> {
  const start = createHash("sha256").update(directory).digest().readUInt32BE() % PORTS.count;
  for (let step = 0; step < PORTS.count; step++) {
    const port = PORTS.first + ((start + step) % PORTS.count);
    if (await isFree(port)) return port;
  }
  throw new Error(`no port is free between ${PORTS.first} and ${PORTS.first + PORTS.count - 1}. Give one as \`port\`.`);
}

/**
 * Writes the files and starts HAProxy as a daemon that has nothing of this process: its own session, no environment,
 * no open files. It listens when this resolves.
 */
export async function startHaproxy(binary: string, directory: string, routing: Routing): Promise<ProcessIdentity> {
  writeFiles(directory, routing);
  const start = () => run(binary, ["-D", "-f", haproxyFiles(directory).config]);
  const { code, stderr } = await effect("start HAProxy", directory, start);
  if (code !== 0) {
    if (/Address already in use/.test(stderr)) throw portInUse(routing.port);
    throw new Error(`HAProxy (${binary}) does not start with the configuration in ${directory}:\n${stderr.trim()}`);
  }
  const started = runningHaproxy(directory);
  if (started === undefined)
    throw new Error(`HAProxy (${binary}) ended right after its start in ${directory}: ${stderr.trim()}`);
  return started;
}

/** Whether HAProxy runs for this directory, takes requests and obeys. */
export async function isServing(directory: string): Promise<boolean> {
  if (runningHaproxy(directory) === undefined) return false;
  const answer = await ask(haproxyFiles(directory).adminSocket, `show stat ${FRONTEND} 1 -1`).catch(() => "");
  return answer.includes(",OPEN,");
}

/**
 * Ends every HAProxy of this directory: no new connections, then up to `graceSeconds` for the requests in flight, then
 * the connections that clients keep open are closed.
 */
export async function stopHaproxy(directory: string, graceSeconds: number, signal: AbortSignal): Promise<void> {
  const running = processesWithArgument(haproxyFiles(directory).config);
  if (running.length === 0) return;
  await drain(haproxyFiles(directory).adminSocket, graceSeconds, signal);
  for (const identity of running) {
    if (!(await effect("end HAProxy", directory, () => endProcess(identity, END_STEPS)))) {
      throw new Error(
        `HAProxy (pid ${identity.pid}) in ${directory} does not end. End it with: kill -9 ${identity.pid}`,
      );
    }
  }
}

/**
 * HAProxy's own graceful end is not enough: it waits without end for a client that keeps its connection after an answer
 * that had begun before. So the requests are waited for here. One that does not answer is ended as it is.
 */
async function drain(adminSocket: string, graceSeconds: number, signal: AbortSignal): Promise<void> {
  const end = Date.now() + graceSeconds * 1000;
  try {
    await command(adminSocket, `shutdown frontend ${FRONTEND}`);
    for (let quietLooks = 0; quietLooks < 2 && Date.now() < end; ) {
      const servers = await readServers(adminSocket);
      quietLooks = servers.every(({ sessions }) => sessions === 0) ? quietLooks + 1 : 0;
      await sleep(POLL_MS, undefined, { signal });
    }
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
  }
}

/** Removes the load balancer's files, and the directory unless somebody put other things there; those are given back. */
export function removeFiles(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const own = Object.values(haproxyFiles(directory)).map((file) => file.slice(directory.length + 1));
  const entries = readdirSync(directory);
  // HAProxy and this module write beside a file first: <file>.new, admin.sock.<pid>.tmp.
  const ours = entries.filter((entry) => own.some((name) => entry === name || entry.startsWith(`${name}.`)));
  for (const entry of ours) rmSync(`${directory}/${entry}`, { force: true });
  const others = entries.filter((entry) => !ours.includes(entry));
  if (others.length === 0) rmdirSync(directory);
  return others;
}

function portInUse(port: number): Error {
  const holder = portHolder(port);
  return new Error(
    `port ${port} on 127.0.0.1 is in use${holder === undefined ? "" : ` by ${holder}`}. ` +
      "End that process, or give the load balancer another `port`, and run the command again.",
  );
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(false);
      else reject(new Error(`port ${port} on 127.0.0.1 cannot be used: ${error.message}. Give another \`port\`.`));
    });
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

function run(binary: string, args: string[]): Promise<{ code: number | null; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { detached: true, cwd: "/", env: {}, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", (error: NodeJS.ErrnoException) => {
      reject(
        new Error(
          `HAProxy cannot be started: ${error.message}. Install HAProxy 2.8 or newer and give its absolute path as \`haproxy\`.`,
        ),
      );
    });
    child.once("close", (code) => resolve({ code, stderr }));
  });
}
