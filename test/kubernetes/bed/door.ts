import { execFileSync } from "node:child_process";
import { connect, type Server, type Socket } from "node:net";
import { NODE_ADDRESS, POD_NETWORK } from "./network";

/**
 * Runs in a new network namespace: brings its loopback up, then takes a listening socket of the host from its parent and
 * leads each connection to the port here. `node door.js PORT`; ends with its parent.
 */
function main(port: number): void {
  const bits = POD_NETWORK.split("/")[1];
  execFileSync("ip", ["link", "set", "lo", "up"], { stdio: "inherit" });
  execFileSync("ip", ["address", "add", `${NODE_ADDRESS}/${bits}`, "dev", "lo"], { stdio: "inherit" });
  process.on("disconnect", () => process.exit(0));
  process.on("message", (_message, listener) => (listener as Server).on("connection", (socket) => lead(socket, port)));
  process.send!("ready");
}

function lead(from: Socket, port: number): void {
  const to = connect({ port, host: "127.0.0.1" });
  from.pipe(to).pipe(from);
  from.on("error", () => to.destroy());
  to.on("error", () => from.destroy());
}

main(Number(process.argv[2]));
