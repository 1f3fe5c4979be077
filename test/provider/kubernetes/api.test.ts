import assert from "node:assert/strict";
import { copyFileSync, utimesSync } from "node:fs";
import { ask } from "../../../provider/kubernetes/api";
import { FakeApiServer } from "../../fake/kubernetes/apiServer";

describe("the API server that is asked", () => {
  const environment = process.env.KUBECONFIG;
  let servers: FakeApiServer[];
  beforeEach(async () => {
    servers = await Promise.all(["first", "second"].map((version) => serving(version)));
  });
  afterEach(async () => {
    for (const server of servers) await server.stop();
    if (environment === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = environment;
  });

  async function serving(version: string): Promise<FakeApiServer> {
    const server = await FakeApiServer.start();
    server.objects.set("/version", { version });
    return server;
  }
  const answering = async (kubeconfig?: string) => {
    const { text } = await ask(kubeconfig === undefined ? {} : { kubeconfig }, "/version");
    return JSON.parse(text).version;
  };

  it("is that of the KUBECONFIG that the environment has now", async () => {
    for (const [index, version] of ["first", "second", "first"].entries()) {
      process.env.KUBECONFIG = servers[index % 2]!.kubeconfig;
      assert.equal(await answering(), version);
    }
  });

  it("is that of a file as it is now, whoever names it", async () => {
    const file = servers[0]!.kubeconfig;
    process.env.KUBECONFIG = file;
    assert.deepEqual([await answering(), await answering(file)], ["first", "first"]);
    copyFileSync(servers[1]!.kubeconfig, file);
    utimesSync(file, new Date(), new Date(Date.now() + 5000));
    assert.deepEqual([await answering(), await answering(file)], ["second", "second"]);
  });
});
