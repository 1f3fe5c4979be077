import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, Load } from "../../../rollout/demo/load";

describe("the demo's load", () => {
  let server: Server;

  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  async function serve(listener: RequestListener): Promise<string> {
    server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }

  it("keeps its rate while the service answers nothing", async () => {
    let arrived = 0;
    let answering = false;
    const waiting: (() => void)[] = [];
    const url = await serve((_request, response) => {
      arrived += 1;
      const answer = () => response.end(JSON.stringify({ version: "v1" }));
      if (answering) answer();
      else waiting.push(answer);
    });
    const load = new Load({ url, token: undefined }, 100);
    await sleep(600);
    assert.ok(arrived >= 40, `${arrived} requests arrived in 0.6 s`);
    answering = true;
    for (const answer of waiting) answer();
    const counts = await load.stop();
    assert.equal(counts.sent, arrived);
    assert.deepEqual(counts.byVersion, { v1: arrived });
  });

  it("sends nothing more once it is stopped", async () => {
    let arrived = 0;
    const url = await serve((_request, response) => {
      arrived += 1;
      response.end(JSON.stringify({ version: "v1" }));
    });
    const load = new Load({ url, token: undefined }, 100);
    await sleep(100);
    const { sent } = await load.stop();
    await sleep(100);
    assert.equal(arrived, sent);
  });

  it("counts a connection that breaks as a failed request", async () => {
    const url = await serve((request) => request.socket.destroy());
    const load = new Load({ url, token: undefined }, 100);
    await sleep(100);
    const counts = await load.stop();
    assert.ok(counts.sent > 0);
    assert.equal(counts.failed, counts.sent);
  });

  it("sends the token, the text and the headers it is given", async () => {
    const url = await serve((request, response) => {
      let body = "";
      request.on("data", (part) => {
        body += part;
      });
      request.on("end", () => {
        const { authorization } = request.headers;
        response.end(JSON.stringify({ authorization, names: request.rawHeaders, body }));
      });
    });
    const ending = await ask({ url, token: "secret" }, "Grüß Gott", { "X-ANYSCALE-VERSION": "canary" });
    assert.ok("body" in ending);
    const { authorization, names, body } = JSON.parse(ending.body);
    assert.equal(authorization, "Bearer secret");
    assert.equal(names[names.indexOf("X-ANYSCALE-VERSION") + 1], "canary");
    assert.deepEqual(JSON.parse(body), { text: "Grüß Gott" });
  });
});
