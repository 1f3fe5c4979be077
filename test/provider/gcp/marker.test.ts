import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { NoMarker, readMarkerWeights } from "../../../provider/cloud/marker";

const forwardingRule = "projects/my-project/global/forwardingRules/models";

describe("the weights of a load balancer that answers with a redirect", () => {
  const servers: Server[] = [];
  const own = { ...process.env };
  const listening = async (listener: RequestListener) => {
    const server = createServer(listener);
    servers.push(server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  /** Compute Engine's API, which has the forwarding rule or not. */
  const api = async (status: number) => {
    const endpoint = await listening((_request, response) => response.writeHead(status).end("{}"));
    Object.assign(process.env, { GOOGLE_COMPUTE_CUSTOM_ENDPOINT: endpoint, GOOGLE_OAUTH_ACCESS_TOKEN: "token" });
  };
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
    for (const name of ["GOOGLE_COMPUTE_CUSTOM_ENDPOINT", "GOOGLE_OAUTH_ACCESS_TOKEN"]) {
      if (own[name] === undefined) delete process.env[name];
      else process.env[name] = own[name];
    }
  });

  it("are in its location, for those who have the token", async () => {
    const url = await listening((request, response) => {
      if (request.headers.authorization !== "Bearer query") return response.writeHead(401).end();
      return response.writeHead(302, { location: `http://${request.headers.host}${request.url}/v1=75,v2=25` }).end();
    });
    const weights = await readMarkerWeights({ url, queryAuthToken: "query" });
    assert.deepEqual([weights.v1?.weight, weights.v2?.weight], [75, 25]);
    await assert.rejects(readMarkerWeights({ url }), NoMarker);
  });

  it("are none when its forwarding rule is gone, and not known while that is there and nobody answers", async () => {
    const url = await listening((request) => request.socket.destroy());
    await api(404);
    await assert.rejects(readMarkerWeights({ url, forwardingRule }), NoMarker);
    await api(200);
    await assert.rejects(readMarkerWeights({ url, forwardingRule }), (error) => !(error instanceof NoMarker));
    await api(403);
    await assert.rejects(readMarkerWeights({ url, forwardingRule }), /refused GET .*forwardingRules\/models \(403\)/);
  });
});
