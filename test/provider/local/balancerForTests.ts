import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, createServer, type IncomingHttpHeaders, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readWeights } from "../../../provider/local/haproxyAdmin";
import { haproxyFiles } from "../../../provider/local/haproxyConfig";
import {
  type LoadBalancerInputs,
  type LoadBalancerState,
  loadBalancerType,
} from "../../../provider/local/loadBalancer";
import { processesWithArgument, waitForEnd } from "../../../provider/local/process";
import type { Backend } from "../../../provider/local/shift";
import type { OperationContext } from "../../../provider/resource";

/** A cluster's HTTP side: answers with its name, the number of requests it got, and what reached it. */
export class Upstream {
  readonly headers: IncomingHttpHeaders[] = [];
  healthy = true;
  private constructor(
    readonly version: string,
    private readonly server: Server,
  ) {}

  static async start(version: string, port = 0): Promise<Upstream> {
    const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, answer) => {
      incoming.resume();
      const url = new URL(incoming.url ?? "/", "http://upstream");
      if (url.pathname === "/-/healthz") return answer.writeHead(upstream.healthy ? 200 : 503).end();
      upstream.headers.push(incoming.headers);
      answer.writeHead(Number(url.searchParams.get("status") ?? 200));
      answer.write(`${version} `);
      setTimeout(() => answer.end("done"), Number(url.searchParams.get("ms") ?? 0));
    });
    const upstream = new Upstream(version, server);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return upstream;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }
  backend(weight: number): Backend {
    return { version: this.version, address: `127.0.0.1:${this.port}`, weight, dashboardUrl: `http://${this.version}` };
  }
  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export interface Answer {
  status: number;
  body: string;
  headers: IncomingHttpHeaders;
}

/** Without an agent the request has a connection of its own. */
export function send(
  url: string,
  headers: Record<string, string> = {},
  agent: Agent | false = false,
  method = "GET",
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { headers, method, agent }, (incoming) => {
      let body = "";
      incoming.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      incoming.on("error", reject);
      incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, body, headers: incoming.headers }));
    });
    outgoing.on("error", reject).end(method === "POST" ? "x".repeat(2000) : undefined);
  });
}

/** Sends requests from several keep-alive clients until it is stopped; every failure is kept. */
export class Load {
  answered = 0;
  readonly failures: string[] = [];
  private running = true;
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 8 });
  private readonly clients: Promise<void>[];

  constructor(url: string, headers: Record<string, string>, status: number) {
    this.clients = Array.from({ length: 8 }, async (_, client) => {
      for (let sent = client; this.running; sent++) {
        const wanted = send(`${url}/?ms=${sent % 20}`, headers, this.agent, sent % 3 === 0 ? "POST" : "GET");
        const failure = await wanted.then(
          (answer) => (answer.status === status ? undefined : `${answer.status} ${answer.body}`),
          (error: Error) => error.message,
        );
        if (failure === undefined) this.answered++;
        else this.failures.push(failure);
      }
    });
  }
  async stop(): Promise<void> {
    this.running = false;
    await Promise.all(this.clients);
    this.agent.destroy();
  }
}

/** Shorter than a user's, in milliseconds. */
export const patience = { healthMs: 5000, readBackMs: 500 };

/** A real HAProxy before small HTTP servers; each test of a suite gets a folder of its own, and nothing of it is left. */
export class BalancerForTests {
  root = "";
  directory = "";
  upstreams: Upstream[] = [];
  loads: Load[] = [];
  warnings: string[] = [];
  /** What was asked of the clusters: VERSION PERCENT. */
  asked: string[] = [];
  /** The version that is not ready. */
  refuse: string | undefined;
  /** What each version works on at a time. */
  slots: number | undefined;
  context = this.contextWith(new AbortController().signal);

  readonly type = loadBalancerType(async (backend, percent) => {
    this.asked.push(`${backend.version} ${percent}`);
    if (backend.version === this.refuse) throw new Error("1 of 4 replicas runs.");
    return this.slots;
  }, patience);

  constructor() {
    beforeEach(() => this.begin());
    afterEach(() => this.end());
  }

  private begin(): void {
    this.root = mkdtempSync(join(tmpdir(), "balancer-"));
    this.directory = join(this.root, "lb");
    this.upstreams = [];
    this.loads = [];
    this.warnings = [];
    this.asked = [];
    this.refuse = undefined;
    this.slots = undefined;
    this.context = this.contextWith(new AbortController().signal);
  }

  private async end(): Promise<void> {
    for (const load of this.loads) void load.stop();
    if (this.running().length > 0) await this.kill();
    await Promise.all(this.upstreams.map((upstream) => upstream.stop()));
    rmSync(this.root, { recursive: true, force: true });
  }

  contextWith(signal: AbortSignal): OperationContext {
    return {
      urn: "urn:pulumi:dev::rayshift::rayserve:local:LoadBalancer::shop",
      name: "shop",
      signal,
      progress: () => undefined,
      warn: (message) => this.warnings.push(message),
    };
  }

  private readonly running = () => processesWithArgument(haproxyFiles(this.directory).config);

  /** Ends HAProxy, which must run, as it is. */
  async kill(): Promise<void> {
    const running = this.running();
    assert.ok(running.length > 0, "no HAProxy runs");
    for (const identity of running) {
      process.kill(identity.pid, "SIGKILL");
      await waitForEnd(identity, 2000);
    }
  }

  /** As HAProxy is started by whoever finds it dead, from its own files. */
  startAgain(): void {
    const { status } = spawnSync(process.env.RAYSHIFT_HAPROXY!, ["-D", "-f", haproxyFiles(this.directory).config]);
    assert.equal(status, 0);
  }

  readonly upstream = async (version: string, port?: number): Promise<Upstream> => {
    const started = await Upstream.start(version, port);
    this.upstreams.push(started);
    return started;
  };

  /** Versions v1 and v2. */
  readonly pair = async () => [await this.upstream("v1"), await this.upstream("v2")] as const;

  readonly keepSending = (url: string, headers: Record<string, string>, status: number): Load => {
    const load = new Load(url, headers, status);
    this.loads.push(load);
    return load;
  };

  readonly inputs = (backends: Backend[], changes: Partial<LoadBalancerInputs> = {}): LoadBalancerInputs => ({
    directory: this.directory,
    haproxy: process.env.RAYSHIFT_HAPROXY!,
    backends,
    primary: backends[0]!.version,
    drainTimeoutSeconds: 5,
    ...changes,
  });

  readonly create = async (wanted: LoadBalancerInputs): Promise<LoadBalancerState> =>
    (await this.type.create(wanted, this.context)).state;

  readonly update = (state: LoadBalancerState, wanted: LoadBalancerInputs): Promise<LoadBalancerState> =>
    this.type.update(this.directory, state, wanted, this.context);

  /** What HAProxy divides requests by. */
  readonly weights = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      Object.entries(await readWeights(haproxyFiles(this.directory).adminSocket)).map(([v, { weight }]) => [v, weight]),
    );

  /** How many of so many requests each version answers. */
  readonly tally = async (state: LoadBalancerState, count: number, headers: Record<string, string> = {}) => {
    const found: Record<string, number> = {};
    for (let sent = 0; sent < count; sent++) {
      const version = (await send(state.url, headers)).body.split(" ")[0]!;
      found[version] = (found[version] ?? 0) + 1;
    }
    return found;
  };
}
