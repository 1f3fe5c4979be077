import childProcess from "node:child_process";
import { EventEmitter } from "node:events";
import filesystem, { existsSync, readFileSync } from "node:fs";
import promises from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { dirname } from "node:path";
import { PassThrough } from "node:stream";
import * as haproxyProcess from "../../provider/local/haproxyProcess";
import * as processes from "../../provider/local/process";
import { resourceTypes } from "../../provider/types";
import * as environment from "../../rollout/environment";
import * as orphans from "../../rollout/orphans";
import type { Project } from "../../rollout/project";
import * as strays from "../../rollout/strays";
import { alive, FakeProcess } from "./process";
import type { FakeWorld } from "./world";

type Undo = () => void;
type Requested = (
  url: URL,
  options: { method?: string; signal?: AbortSignal },
  answer?: (message: object) => void,
) => object;

const clusterToken = "rayserve:local:Cluster";

/**
 * Puts a world in the place of what the project reaches beyond its own process: Ray's dashboards, HAProxy's admin socket,
 * HAProxy's process, other processes. Gives a function that puts everything back.
 */
export function installWorld(world: FakeWorld): Undo {
  const undos: Undo[] = [];
  const put = <T extends object, K extends keyof T>(object: T, key: K, value: unknown) => {
    const before = object[key];
    object[key] = value as T[K];
    undos.push(() => {
      object[key] = before;
    });
  };
  const request = requestIn(world);
  put(http, "request", request);
  put(http, "get", (url: string, options: object, answer?: (message: object) => void) => {
    const sent = request(new URL(url), options, answer) as EventEmitter & { end(): void };
    sent.end();
    return sent;
  });
  put(net, "createConnection", connectionIn(world));
  put(childProcess, "spawn", spawnIn(world));
  const { readFile } = promises;
  // Nothing of the simulation may take real time: a cluster's token is read at once.
  put(promises, "readFile", async (file: string, options: unknown) =>
    /\/token$/.test(file) ? readAtOnce(file) : (readFile as (...given: unknown[]) => unknown)(file, options),
  );
  // What is killed writes no more, though its code goes on to its next use of a fake.
  for (const name of ["writeFileSync", "renameSync", "linkSync", "rmSync", "rmdirSync", "mkdirSync"] as const) {
    const write = filesystem[name] as (...given: unknown[]) => unknown;
    put(filesystem, name, (...given: unknown[]) =>
      FakeProcess.current?.alive === false ? undefined : write(...given),
    );
  }
  put(processes, "identify", (pid: number) =>
    pid === process.pid ? (FakeProcess.current?.identity ?? own) : FakeProcess.of(pid)?.identity,
  );
  put(processes, "isAlive", ({ pid }: { pid: number }) => pid === process.pid || FakeProcess.of(pid) !== undefined);
  put(processes, "signalProcess", ({ pid }: { pid: number }) => {
    FakeProcess.of(pid)?.interrupt();
    return true;
  });
  put(processes, "waitForEnd", async ({ pid }: { pid: number }, timeoutMs: number, signal?: AbortSignal) => {
    for (const end = world.clock.now + timeoutMs; FakeProcess.of(pid) !== undefined; ) {
      if (world.clock.now >= end) return false;
      await world.clock.sleep(50, undefined, signal === undefined ? {} : { signal });
    }
    return true;
  });
  const ofBalancer = (config: string) =>
    world.balancers.has(dirname(config)) ? [{ pid: 1, startTime: dirname(config) }] : [];
  put(processes, "processesWithArgument", ofBalancer);
  put(processes, "endProcess", async ({ startTime: directory }: processes.ProcessIdentity) =>
    world.effect("end HAProxy", () => world.balancers.delete(directory) || true),
  );
  put(haproxyProcess, "requireFreePort", async () => {});
  put(haproxyProcess, "choosePort", async () => 20_000);
  put(orphans, "endHelpers", () => {});
  put(orphans, "isOrphan", (pid: number) => FakeProcess.of(pid)?.parent?.alive === false);
  put(strays, "strayClusters", (_project: Project, held: readonly string[]) =>
    [...world.clusters.values()].filter(({ directory }) => !held.includes(directory)).map(({ inputs }) => inputs),
  );
  put(environment, "environmentFor", async () => process.env);
  put(resourceTypes as Record<string, unknown>, clusterToken, world.clusterType);
  return () => {
    for (const undo of undos.reverse()) undo();
  };
}

const own = { pid: process.pid, startTime: "fake" };

async function readAtOnce(file: string): Promise<string> {
  if (!existsSync(file)) throw Object.assign(new Error(`no such file: ${file}`), { code: "ENOENT" });
  return readFileSync(file, "utf8");
}

function refused(): Error {
  return Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
}

function requestIn(world: FakeWorld): Requested {
  return (url, { method = "GET", signal }, answer) => {
    const sent = new EventEmitter();
    if (answer !== undefined) sent.once("response", answer);
    const failed = (error: unknown) => {
      if (!over) sent.emit("error", error);
      over = true;
    };
    let over = false;
    signal?.addEventListener("abort", () => failed(signal.reason), { once: true });
    const exchange = async (body = "") => {
      await alive();
      if (signal?.aborted) return failed(signal.reason);
      const answered = await world.request(url, method, body);
      await alive();
      if (over) return;
      if (answered === undefined) return failed(refused());
      over = true;
      const message = Object.assign(new EventEmitter(), { statusCode: answered.status, resume: () => {} });
      sent.emit("response", message);
      message.emit("data", Buffer.from(answered.text));
      message.emit("end");
    };
    return Object.assign(sent, {
      end: (body?: string) => {
        exchange(body).catch(failed);
      },
    });
  };
}

function connectionIn(world: FakeWorld) {
  return (path: string, connected: () => void) => {
    const socket = new EventEmitter();
    const send = async (text: string) => {
      const answer = await world.tell(path, text.trim());
      await alive();
      if (answer === undefined) return socket.emit("error", new Error("connect ENOENT"));
      socket.emit("data", Buffer.from(answer));
      socket.emit("end");
    };
    const write = (text: string) => {
      send(text).catch((error) => socket.emit("error", error));
    };
    Promise.resolve().then(alive).then(connected);
    return Object.assign(socket, { write, setTimeout: () => {}, destroy: () => {} });
  };
}

/** The one program that is started as such: HAProxy, with its configuration file as the last argument. */
function spawnIn(world: FakeWorld) {
  return (_binary: string, args: string[]) => {
    const child = Object.assign(new EventEmitter(), { stderr: new PassThrough(), stdout: new PassThrough() });
    const file = args.at(-1) ?? "";
    const start = async () => {
      await world.effect("start HAProxy", () =>
        world.startBalancer(dirname(file), filesystem.readFileSync(file, "utf8")),
      );
      child.emit("close", 0);
    };
    start().catch((error) => child.emit("error", error));
    return child;
  };
}
