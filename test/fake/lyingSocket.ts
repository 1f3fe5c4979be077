import { renameSync } from "node:fs";
import { createConnection, createServer } from "node:net";

/**
 * Puts a fake in the way of HAProxy's admin socket: it swallows the weights of one version, with the answer of a command
 * that went well, and passes all else on. HAProxy itself stays real. Gives a function that takes the fake away.
 */
export async function lieAbout(version: string, adminSocket: string): Promise<() => Promise<void>> {
  const real = `${adminSocket}.real`;
  renameSync(adminSocket, real);
  const fake = createServer((client) => {
    client.on("error", () => {});
    client.once("data", (line) => {
      const swallowed = new RegExp(`set server traffic/${version} weight \\d+;?`, "g");
      const behind = createConnection(real, () => behind.write(line.toString().replace(swallowed, "")));
      behind.on("error", () => client.destroy());
      behind.pipe(client);
    });
  });
  await new Promise<void>((resolve) => fake.listen(adminSocket, resolve));
  return async () => {
    await new Promise((resolve) => fake.close(resolve));
    renameSync(real, adminSocket);
  };
}
