import type { ChildProcess } from "node:child_process";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import type { Processes } from "./processes";

/** Every pod's address is in here; whole, it belongs to the namespace's loopback, so that one process can answer for all pods. */
export const POD_NETWORK = "10.244.0.0/16";
/** An address in it that no pod gets. */
export const NODE_ADDRESS = "10.244.255.254";
/** Where the API server listens, on loopback; on the node's address too where pods run. */
export const API_PORT = 6443;

/**
 * `answered`: pods' addresses are the namespace's own loopback. `routed`: pods have namespaces of their own, behind a
 * bridge, and the API server is for them on the node's address as well.
 */
export type Pods = "answered" | "routed";

/** What `door` is told: leads connections to this port. */
export interface Way {
  port: number;
  host: string;
}

/** A network namespace without a way out; it ends with the last process in it. */
export interface Network {
  /** Words before a program that is to run in it. */
  enter: string[];
  /** Lets this host's loopback in to a port in it, of its own loopback or of `host`; gives the host's port. */
  open(port: number, host?: string): Promise<number>;
}

/** Makes the namespace, held by a process. As root or, where the kernel lets them, as a plain user. */
export async function makeNetwork(processes: Processes, pods: Pods): Promise<Network> {
  const plain = process.getuid?.() !== 0;
  const unshare = ["unshare", ...(plain ? ["--user", "--map-root-user"] : []), "--net"];
  const door = processes.start("door", unshare, [process.execPath, join(__dirname, "door.js"), pods], true);
  await new Promise<void>((resolve, reject) => {
    door.once("message", () => resolve());
    door.once("exit", () => reject(new Error(explained(processes.tail("door")))));
    door.once("error", (error) => reject(new Error(explained(error.message))));
  });
  // The process counts, as with the other programs, not its channel.
  door.channel?.unref();
  const held = `/proc/${door.pid}/ns`;
  const user = plain ? [`--user=${held}/user`, "--preserve-credentials"] : [];
  return {
    enter: ["nsenter", ...user, `--net=${held}/net`],
    open: (port, host = "127.0.0.1") => openPort(door, { port, host }),
  };
}

async function openPort(door: ChildProcess, way: Way): Promise<number> {
  const listener = createServer();
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(0, "127.0.0.1", resolve);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      door.send(way, listener, (error) => (error === null ? resolve() : reject(error)));
    });
    return (listener.address() as AddressInfo).port;
  } finally {
    listener.close();
  }
}

const explained = (cause: string) =>
  `a network namespace could not be made:\n${cause}\n` +
  "The Kubernetes test bed needs root or unprivileged user namespaces, and the Debian packages util-linux and iproute2.";
