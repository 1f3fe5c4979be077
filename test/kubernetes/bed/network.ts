import type { ChildProcess } from "node:child_process";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import type { Processes } from "./processes";

/** Every pod's address is in here; whole, it belongs to the namespace's loopback, so that one process can answer for all pods. */
export const POD_NETWORK = "10.244.0.0/16";
/** An address in it that no pod gets. */
export const NODE_ADDRESS = "10.244.255.254";

/** A network namespace without a way out; it ends with the last process in it. */
export interface Network {
  /** Words before a program that is to run in it. */
  enter: string[];
  /** Lets this host's loopback in to a port on the loopback in it; gives the host's port. */
  open(port: number): Promise<number>;
}

/** Makes the namespace, held by a process. As root or, where the kernel lets them, as a plain user. */
export async function makeNetwork(processes: Processes): Promise<Network> {
  const plain = process.getuid?.() !== 0;
  const unshare = ["unshare", ...(plain ? ["--user", "--map-root-user"] : []), "--net"];
  const door = processes.start("door", unshare, [process.execPath, join(__dirname, "door.js")], true);
  await new Promise<void>((resolve, reject) => {
    door.once("message", () => resolve());
    door.once("exit", () => reject(new Error(explained(processes.tail("door")))));
    door.once("error", (error) => reject(new Error(explained(error.message))));
  });
  // The process counts, as with the other programs, not its channel.
  door.channel?.unref();
  const held = `/proc/${door.pid}/ns`;
  const user = plain ? [`--user=${held}/user`, "--preserve-credentials"] : [];
  return { enter: ["nsenter", ...user, `--net=${held}/net`], open: (port) => openPort(door, port) };
}

async function openPort(door: ChildProcess, port: number): Promise<number> {
  const listener = createServer();
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(0, "127.0.0.1", resolve);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      door.send(port, listener, (error) => (error === null ? resolve() : reject(error)));
    });
    return (listener.address() as AddressInfo).port;
  } finally {
    listener.close();
  }
}

const explained = (cause: string) =>
  `a network namespace could not be made:\n${cause}\n` +
  "The Kubernetes test bed needs root or unprivileged user namespaces, and the Debian packages util-linux and iproute2.";
