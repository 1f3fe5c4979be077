import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { stringify } from "yaml";

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind.
export type AnyObject = any;

/** An answer to a request that the API server forwards. */
export interface Forwarded {
  status: number;
  body: string;
  headers?: Record<string, string>;
}

export interface Seen {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
}

/**
 * A fake of the Kubernetes API server: objects by their paths, lists by labels, server-side apply without its ownership of
 * fields, and a service or pod proxy that the test answers. It listens on the loopback without TLS and asks for a token.
 *
 * It does not prove that an object passes a schema, that anybody owns a field, what a controller makes of an object, nor
 * how credentials are had.
 */
export class FakeApiServer {
  readonly folder = mkdtempSync(join(tmpdir(), "rayshift-api-"));
  readonly kubeconfig = join(this.folder, "kubeconfig");
  /** By path, without a query. */
  readonly objects = new Map<string, AnyObject>();
  readonly requests: Seen[] = [];
  /** Answers what is forwarded; the path begins behind `/proxy`. Undefined: nobody answers. */
  forward: (path: string, to: string, request: IncomingMessage) => Forwarded | undefined = () => ({
    status: 503,
    body: statusText("no endpoints available for service"),
  });
  /** Called after an object was written. */
  onWrite: (path: string, object: AnyObject) => void = () => {};
  token = "fake-token";
  private readonly server: Server;

  private constructor() {
    this.server = createServer((request, response) => void this.answer(request, response));
  }

  static async start(): Promise<FakeApiServer> {
    const fake = new FakeApiServer();
    await new Promise<void>((done) => fake.server.listen(0, "127.0.0.1", done));
    fake.writeKubeconfig(fake.token);
    return fake;
  }

  writeKubeconfig(token: string): void {
    const { port } = this.server.address() as AddressInfo;
    const cluster = { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true };
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "fake",
      clusters: [{ name: "fake", cluster }],
      contexts: [{ name: "fake", context: { cluster: "fake", user: "fake" } }],
      users: [{ name: "fake", user: { token } }],
    };
    writeFileSync(this.kubeconfig, stringify(config), { mode: 0o600 });
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
    rmSync(this.folder, { recursive: true });
  }

  /** Puts an object where it would be, as somebody else would. */
  set(path: string, object: AnyObject): AnyObject {
    const before = this.objects.get(path);
    const same = before !== undefined && isDeepStrictEqual(before.spec, object.spec);
    const metadata = {
      uid: before?.metadata.uid ?? randomUUID(),
      creationTimestamp: new Date().toISOString(),
      generation: (before?.metadata.generation ?? 0) + (same ? 0 : 1),
      ...object.metadata,
      name: object.metadata?.name ?? path.split("/").at(-1),
    };
    const whole = { ...object, metadata };
    this.objects.set(path, whole);
    this.onWrite(path, whole);
    return this.objects.get(path);
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams } = new URL(request.url ?? "/", "http://fake");
    const method = request.method ?? "GET";
    this.requests.push({ method, path, headers: request.headers });
    const body = await textOf(request);
    const reply = (status: number, value: unknown, headers: Record<string, string> = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(typeof value === "string" ? value : JSON.stringify(value));
    };
    if (request.headers.authorization !== `Bearer ${this.token}`) return reply(401, statusText("Unauthorized"));
    const [, to, rest] = /^(.*\/(?:services|pods)\/[^/]+)\/proxy(\/.*)$/.exec(path) ?? [];
    if (to !== undefined && rest !== undefined) {
      const forwarded = this.forward(rest, to.split("/").at(-1) ?? "", request);
      return forwarded && reply(forwarded.status, forwarded.body, forwarded.headers);
    }
    if (method === "PATCH") {
      const patch = JSON.parse(body);
      const before = this.objects.get(path);
      if (Array.isArray(patch)) return reply(200, this.set(path, patched(before, patch)));
      if (patch.metadata.uid !== undefined && patch.metadata.uid !== before?.metadata.uid) {
        return reply(409, statusText("uid mismatch: the object exists no more"));
      }
      return reply(200, this.set(path, { ...before, ...patch, ...merged(before, patch) }));
    }
    if (method === "DELETE") {
      return this.objects.delete(path) ? reply(200, {}) : reply(404, statusText("not found"));
    }
    const found = this.objects.get(path);
    if (found !== undefined) return reply(200, found);
    const below = [...this.objects].filter(([each]) => each.slice(0, each.lastIndexOf("/")) === path);
    if (below.length === 0 && !/s$/.test(path)) return reply(404, statusText("not found"));
    const wanted = (searchParams.get("labelSelector") ?? "").split(",").filter((part) => part !== "");
    const items = below
      .map(([, object]) => object)
      .filter(({ metadata }) => wanted.every((part) => metadata.labels?.[part.split("=")[0]!] === part.split("=")[1]));
    if (below.length === 0 && !/\/(pods|rayclusters|endpointslices|events|services)$/.test(path)) {
      return reply(404, statusText("not found"));
    }
    reply(200, { kind: "List", items });
  }
}

function merged(before: AnyObject, patch: AnyObject): AnyObject {
  return {
    metadata: { ...before?.metadata, ...patch.metadata, generation: before?.metadata.generation },
    spec: { ...before?.spec, ...patch.spec },
  };
}

function patched(before: AnyObject, operations: Array<{ op: string; path: string; value: unknown }>): AnyObject {
  const after = structuredClone(before);
  for (const { op, path, value } of operations) {
    const keys = path.split("/").slice(1);
    const last = keys.pop()!;
    const parent = keys.reduce((at, key) => at[key], after);
    if (op === "test" && parent[last] !== value) throw new Error(`test of ${path} failed`);
    if (op !== "test") parent[last] = value;
  }
  return after;
}

export function statusText(message: string): string {
  return JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", message });
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
