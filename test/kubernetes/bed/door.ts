import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { API_PORT, NODE_ADDRESS, POD_NETWORK, type Pods, type Way } from "./network";

/** What a network with pods behind a bridge needs, in this namespace only. */
const forwarding = [
  "net/ipv4/ip_forward",
  // Else a service's packets between two pods would pass the node's rules by.
  "net/bridge/bridge-nf-call-iptables",
];

/**
 * Runs in a new network namespace: brings its loopback up, then takes listening sockets of the host from its parent, each
 * with the port here that its connections are led to. Ends with its parent.
 */
function main(pods: Pods): void {
  process.on("disconnect", () => process.exit(0));
  process.on("message", (way: Way, listener: Server) => listener.on("connection", (socket) => lead(socket, way)));
  ip("link", "set", "lo", "up");
  if (pods === "routed") {
    ip("link", "add", "node", "type", "bridge");
    ip("address", "add", `${NODE_ADDRESS}/32`, "dev", "node");
    ip("link", "set", "node", "up");
    // Services' addresses are nowhere; a packet needs a way before it gets another address.
    ip("route", "add", "default", "dev", "node", "src", NODE_ADDRESS);
    for (const name of forwarding) writeFileSync(`/proc/sys/${name}`, "1");
    const apiServer = createServer((socket) => lead(socket, { port: API_PORT, host: "127.0.0.1" }));
    apiServer.listen(API_PORT, NODE_ADDRESS, () => process.send!("ready"));
  } else {
    ip("address", "add", `${NODE_ADDRESS}/${POD_NETWORK.split("/")[1]}`, "dev", "lo");
    process.send!("ready");
  }
}

function ip(...words: string[]): void {
  execFileSync("ip", words, { stdio: "inherit" });
}

function lead(from: Socket, { port, host }: Way): void {
  const to = connect({ port, host });
  from.pipe(to).pipe(from);
  from.on("error", () => to.destroy());
  to.on("error", () => from.destroy());
}

main(process.argv[2] as Pods);
