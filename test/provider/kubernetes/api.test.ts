import assert from "node:assert/strict";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "../../../provider/kubernetes/api";

describe("the API server that is asked", () => {
  const environment = process.env.KUBECONFIG;
  const folder = mkdtempSync(join(tmpdir(), "rayshift-api-"));
  const file = (name: string) => join(folder, name);
  let servers: Server[];

  before(async () => {
    servers = ["first", "second"].map((name) => createServer((_, response) => void response.end(name)));
    for (const server of servers) await new Promise<void>((up) => server.listen(0, "127.0.0.1", up));
  });
  after(() => {
    for (const server of servers) server.close();
    rmSync(folder, { recursive: true });
    if (environment === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = environment;
  });

  function write(name: string, index: number): string {
    const server = `http://127.0.0.1:${(servers[index]!.address() as AddressInfo).port}`;
    const config = {
      clusters: [{ name: "test", cluster: { server, "insecure-skip-tls-verify": true } }],
      users: [{ name: "test", user: {} }],
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      "current-context": "test",
    };
    writeFileSync(file(name), JSON.stringify(config));
    return file(name);
  }

  const answering = async (kubeconfig?: string) => {
    const { text } = await ask(kubeconfig === undefined ? {} : { kubeconfig }, "/version");
    return text;
  };

  it("is that of the KUBECONFIG that the environment has now", async () => {
    process.env.KUBECONFIG = write("a", 0);
    assert.equal(await answering(), "first");
    process.env.KUBECONFIG = write("b", 1);
    assert.equal(await answering(), "second");
    process.env.KUBECONFIG = file("a");
    assert.equal(await answering(), "first");
  });

  it("is that of a file as it is now, whoever names it", async () => {
    process.env.KUBECONFIG = write("renewed", 0);
    assert.deepEqual([await answering(), await answering(file("renewed"))], ["first", "first"]);
    write("renewed", 1);
    utimesSync(file("renewed"), new Date(), new Date(Date.now() + 5000));
    assert.deepEqual([await answering(), await answering(file("renewed"))], ["second", "second"]);
  });
});
