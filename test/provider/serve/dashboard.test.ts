import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { DashboardUnreachable, getApplications } from "../../../provider/serve/dashboard";

describe("Ray's dashboard at an address where another program answers", () => {
  let server: Server;
  let dashboardUrl: string;
  before(async () => {
    server = createServer((_, answer) => answer.end("v1 done"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    dashboardUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());

  it("is gone on this host, where the port is free for others once its head has ended", async () => {
    const asked = getApplications({ dashboardUrl, dashboardTokenFile: "/nowhere/token" });
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof DashboardUnreachable && error.refused);
      assert.match(error.message, /another program answers there, v1 done/);
      return true;
    });
  });

  it("is not known to be gone in a cloud, where something may stand in between", async () => {
    const asked = getApplications({ dashboardUrl, dashboardToken: "t" });
    await assert.rejects(
      asked,
      (error) => !(error instanceof DashboardUnreachable) && /did not answer with JSON/.test(String(error)),
    );
  });
});
