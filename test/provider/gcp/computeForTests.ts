import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

interface Machine {
  status: string;
  labels: Record<string, string>;
  /** ms since 1970 from when on it is gone. */
  goneAt?: number;
}

/**
 * A fake of the part of Compute Engine's API that rayshift calls: instances by a label, a page at a time, and their
 * deletion, which takes a while. It does not prove that the filter's language is Google's.
 */
export class FakeCompute {
  readonly machines = new Map<string, Machine>();
  readonly requests: string[] = [];
  /** Machines that never go. */
  readonly stuck = new Set<string>();
  pageSize = 2;
  goneMs = 50;
  private constructor(private readonly server: Server) {}

  static async start(token: string): Promise<FakeCompute> {
    const server = createServer((request, response) => {
      const [status, body] = fake.answer(request, token);
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
    const fake = new FakeCompute(server);
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    return fake;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/compute/v1`;
  }

  add(name: string, clusterName: string, nodeType: string, status = "RUNNING"): void {
    this.machines.set(name, { status, labels: { "ray-cluster-name": clusterName, "ray-node-type": nodeType } });
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((closed) => this.server.close(closed));
  }

  private answer(request: IncomingMessage, token: string): [number, object] {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://fake");
    this.requests.push(`${request.method} ${pathname}`);
    if (request.headers.authorization !== `Bearer ${token}`)
      return [401, { error: { message: "Invalid Credentials" } }];
    for (const [name, { goneAt = Infinity }] of this.machines) if (goneAt <= Date.now()) this.machines.delete(name);
    if (request.method === "GET" && pathname.endsWith("/instances")) return [200, this.list(searchParams)];
    const name = pathname.split("/").at(-1) ?? "";
    const machine = this.machines.get(name);
    if (machine === undefined) return [404, { error: { message: `The resource '${name}' was not found` } }];
    if (request.method === "DELETE" && !this.stuck.has(name)) {
      machine.status = "STOPPING";
      machine.goneAt = Date.now() + this.goneMs;
    }
    return [200, {}];
  }

  private list(query: URLSearchParams): object {
    const [label = "", value] = (query.get("filter") ?? "").replace(/^labels\./, "").split("=");
    const all = [...this.machines].filter(([, { labels }]) => labels[label] === value);
    const from = Number(query.get("pageToken") ?? 0);
    const items = all.slice(from, from + this.pageSize).map(([name, { status, labels }]) => ({ name, status, labels }));
    const next = from + this.pageSize;
    return { items, ...(next < all.length ? { nextPageToken: String(next) } : {}) };
  }
}
