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
  /** Port on this host's loopback that leads to the API server in it. */
  port: number;
}

/**
 * Makes the namespace, held by a process that lets this host's loopback in to one port of it. As root or, where the
 * kernel lets them, as a plain user.
 *
 * @param port in the namespace, on its loopback
 */
export async function makeNetwork(processes: Processes, port: number): Promise<Network> {
  const plain = process.getuid?.() !== 0;
  const unshare = ["unshare", ...(plain ? ["--user", "--map-root-user"] : []), "--net"];
  const listener = createServer();
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(0, "127.0.0.1", resolve);
  });
  const door = processes.start("door", unshare, [process.execPath, join(__dirname, "door.js"), String(port)], true);
  try {
    await new Promise<void>((resolve, reject) => {
      door.once("message", () => resolve());
      door.once("exit", () => reject(new Error(explained(processes.tail("door")))));
      door.once("error", (error) => reject(new Error(explained(error.message))));
    });
    await new Promise<void>((resolve, reject) => {
      door.send("open", listener, (error) => (error === null ? resolve() : reject(error)));
    });
    // The process counts, as with the other programs, not its channel.
    door.channel?.unref();
    const held = `/proc/${door.pid}/ns`;
    const user = plain ? [`--user=${held}/user`, "--preserve-credentials"] : [];
    return { enter: ["nsenter", ...user, `--net=${held}/net`], port: (listener.address() as AddressInfo).port };
  } finally {
    listener.close();
  }
}

const explained = (cause: string) =>
  `a network namespace could not be made:\n${cause}\n` +
  "The Kubernetes test bed needs root or unprivileged user namespaces, and the Debian packages util-linux and iproute2.";
