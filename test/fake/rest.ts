import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServeDeployment } from "../../provider/serve/config";
import type { FakeServe } from "./serve";

const POLL_MS = 50;

/** A request without the right token. */
export function refuse(response: ServerResponse): void {
  reply(response, 401, "Unauthorized: Missing or invalid authentication token");
}

/**
 * Answers on the port of Ray's dashboard for a {@link FakeServe}: its nodes and its applications.
 *
 * @param before called with a config that was PUT, before it is taken
 */
export async function answerDashboard(
  serve: FakeServe,
  request: IncomingMessage,
  response: ServerResponse,
  before: (config: ServeDeployment) => void = () => {},
): Promise<void> {
  const { method } = request;
  const { pathname } = new URL(request.url ?? "/", "http://fake");
  if (method === "GET" && pathname === "/api/v0/nodes") return reply(response, 200, serve.nodesDocument());
  if (pathname !== "/api/serve/applications/") return reply(response, 404, `no ${pathname}`);
  if (method === "GET") return reply(response, 200, serve.details());
  if (method === "DELETE") {
    serve.delete();
    return reply(response, 200, "");
  }
  const config = JSON.parse(await bodyOf(request)) as ServeDeployment;
  before(config);
  serve.put(config);
  reply(response, 200, "");
}

/** Answers on Serve's own port, as the applications of a {@link FakeServe} would; `?seconds=N` takes so long. */
export async function answerUser(serve: FakeServe, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://fake");
  if (pathname === "/-/healthz") {
    return serve.serving ? reply(response, 200, "success") : reply(response, 503, "DRAINING");
  }
  await bodyOf(request);
  while (!response.destroyed) {
    const taken = serve.request(pathname);
    if (taken === "none") return reply(response, 404, `Path '${pathname}' not found.`);
    if (taken !== undefined) {
      await sleep(Number(searchParams.get("seconds") ?? 0) * 1000);
      taken.done();
      return reply(response, 200, JSON.stringify({ version: taken.environment.VERSION }));
    }
    await sleep(POLL_MS);
  }
}

function reply(response: ServerResponse, status: number, body: object | string): void {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
