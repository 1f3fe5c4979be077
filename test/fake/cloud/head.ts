import { createServer, type RequestListener, type Server } from "node:http";
import { answerDashboard, answerUser, refuse } from "../rest";
import { FakeServe, type FakeServeOptions } from "../serve";

const DASHBOARD_PORT = 8265;
const SERVE_PORT = 8000;

/**
 * A fake of a head machine in a cloud: Ray's REST API and Serve's proxy on the usual ports of a loopback address of its
 * own, by the project's one fake of Serve. It does not prove that the machine's script starts Ray.
 */
export class FakeCloudHead {
  private constructor(
    readonly host: string,
    readonly serve: FakeServe,
    private readonly servers: Server[],
  ) {}

  /** @param host - such as 127.4.0.1: on Linux all of 127.0.0.0/8 is this machine */
  static async start(host: string, token: string, options: FakeServeOptions): Promise<FakeCloudHead> {
    const serve = new FakeServe(options);
    const dashboard = await listen(host, DASHBOARD_PORT, (request, response) => {
      if (request.headers.authorization !== `Bearer ${token}`) return refuse(response);
      void answerDashboard(serve, request, response);
    });
    const proxy = await listen(host, SERVE_PORT, (request, response) => void answerUser(serve, request, response));
    return new FakeCloudHead(host, serve, [dashboard, proxy]);
  }

  async stop(): Promise<void> {
    for (const server of this.servers) {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  }
}

/** A small server of a fake, at an address of this machine. */
export function listen(host: string, port: number, answer: RequestListener): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ keepAliveTimeout: 60_000 }, answer).on("error", reject);
    server.listen(port, host, () => resolve(server));
  });
}
