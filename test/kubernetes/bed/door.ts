import { execFileSync } from "node:child_process";
import { connect, type Server, type Socket } from "node:net";
import { NODE_ADDRESS, POD_NETWORK } from "./network";

/**
 * Runs in a new network namespace: brings its loopback up, then takes listening sockets of the host from its parent, each
 * with the port here that its connections are led to. Ends with its parent.
 */
function main(): void {
  const bits = POD_NETWORK.split("/")[1];
  execFileSync("ip", ["link", "set", "lo", "up"], { stdio: "inherit" });
  execFileSync("ip", ["address", "add", `${NODE_ADDRESS}/${bits}`, "dev", "lo"], { stdio: "inherit" });
  process.on("disconnect", () => process.exit(0));
  process.on("message", (port: number, listener: Server) => listener.on("connection", (socket) => lead(socket, port)));
  process.send!("ready");
}

function lead(from: Socket, port: number): void {
  const to = connect({ port, host: "127.0.0.1" });
  from.pipe(to).pipe(from);
  from.on("error", () => to.destroy());
  to.on("error", () => from.destroy());
}

main();
