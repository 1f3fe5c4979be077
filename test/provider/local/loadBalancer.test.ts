import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { Agent, createServer, type IncomingHttpHeaders, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readCounts, readServers, readWeights, tell } from "../../../provider/local/haproxyAdmin";
import { haproxyFiles } from "../../../provider/local/haproxyConfig";
import { runningHaproxy, startHaproxy, stopHaproxy } from "../../../provider/local/haproxyProcess";
import {
  type LoadBalancerInputs,
  type LoadBalancerState,
  loadBalancerType,
} from "../../../provider/local/loadBalancer";
import { processesWithArgument, waitForEnd } from "../../../provider/local/process";
import { type Backend, weightCommands } from "../../../provider/local/shift";
import { type OperationContext, PartialFailure } from "../../../provider/resource";
import { lieAbout } from "../../fake/lyingSocket";

/** A cluster's HTTP side: answers with its name, the number of requests it got, and what reached it. */
class Upstream {
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

interface Answer {
  status: number;
  body: string;
  headers: IncomingHttpHeaders;
}

/** Without an agent the request has a connection of its own. */
function send(
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
class Load {
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

describe("the local load balancer", function () {
  this.timeout(20_000);
  let root: string;
  let directory: string;
  let upstreams: Upstream[];
  let loads: Load[];
  let warnings: string[];
  let asked: string[];
  let refuse: string | undefined;
  let slots: number | undefined;
  let context: OperationContext;
  const patience = { healthMs: 5000, readBackMs: 500 };
  const type = loadBalancerType(async (backend, percent) => {
    asked.push(`${backend.version} ${percent}`);
    if (backend.version === refuse) throw new Error("1 of 4 replicas runs.");
    return slots;
  }, patience);

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "balancer-"));
    directory = join(root, "lb");
    upstreams = [];
    loads = [];
    warnings = [];
    asked = [];
    refuse = undefined;
    slots = undefined;
    context = contextWith(new AbortController().signal);
  });
  afterEach(async () => {
    for (const load of loads) void load.stop();
    for (const identity of processesWithArgument(haproxyFiles(directory).config)) {
      process.kill(identity.pid, "SIGKILL");
      await waitForEnd(identity, 2000);
    }
    await Promise.all(upstreams.map((upstream) => upstream.stop()));
    rmSync(root, { recursive: true, force: true });
  });

  const contextWith = (signal: AbortSignal): OperationContext => ({
    urn: "urn:pulumi:dev::rayshift::rayserve:local:LoadBalancer::shop",
    name: "shop",
    signal,
    progress: () => undefined,
    warn: (message) => warnings.push(message),
  });
  const upstream = async (version: string, port?: number) => {
    const started = await Upstream.start(version, port);
    upstreams.push(started);
    return started;
  };
  const keepSending = (url: string, headers: Record<string, string>, status: number) => {
    const load = new Load(url, headers, status);
    loads.push(load);
    return load;
  };
  const inputs = (backends: Backend[], changes: Partial<LoadBalancerInputs> = {}): LoadBalancerInputs => ({
    directory,
    haproxy: process.env.RAYSHIFT_HAPROXY!,
    backends,
    primary: backends[0]!.version,
    drainTimeoutSeconds: 5,
    ...changes,
  });
  const create = async (wanted: LoadBalancerInputs) => (await type.create(wanted, context)).state;
  const update = (state: LoadBalancerState, wanted: LoadBalancerInputs) =>
    type.update(directory, state, wanted, context);
  const weights = async () =>
    Object.fromEntries(
      Object.entries(await readWeights(haproxyFiles(directory).adminSocket)).map(([v, { weight }]) => [v, weight]),
    );
  const tally = async (state: LoadBalancerState, count: number, headers: Record<string, string> = {}) => {
    const found: Record<string, number> = {};
    for (let sent = 0; sent < count; sent++) {
      const version = (await send(state.url, headers)).body.split(" ")[0]!;
      found[version] = (found[version] ?? 0) + 1;
    }
    return found;
  };
  const pair = async () => [await upstream("v1"), await upstream("v2")] as const;

  describe("splits traffic", () => {
    it("by weight, and counts what each version got and failed", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(80), v2.backend(20)], { canary: "v2" }));
      const found = await tally(state, 500);
      assert.ok(found.v2! >= 80 && found.v2! <= 120, `canary got ${found.v2} of 500 at 20 %`);
      await send(`${state.url}/?status=500`, { "X-ANYSCALE-VERSION": "canary" });
      const counts = await readCounts(state.adminSocket);
      assert.deepEqual([counts.v1!.requests, counts.v1!.responses5xx], [found.v1, 0]);
      assert.deepEqual([counts.v2!.requests, counts.v2!.responses5xx], [found.v2! + 1, 1]);
    });

    it("otherwise after an update, without another process, and asks first whether the riser is ready", async () => {
      const [v1, v2] = await pair();
      const first = await create(inputs([v1.backend(100)]));
      assert.deepEqual(asked, ["v1 100"]);
      const second = await update(first, inputs([v1.backend(70), v2.backend(30)], { canary: "v2" }));
      assert.deepEqual(asked, ["v1 100", "v2 30"]);
      assert.equal(second.pid, first.pid);
      assert.equal(second.port, first.port);
      const found = await tally(second, 300);
      assert.ok(found.v2! >= 70 && found.v2! <= 110, `canary got ${found.v2} of 300 at 30 %`);
      assert.deepEqual(await update(second, inputs([v1.backend(100), v2.backend(0)], { canary: "v2" })), {
        ...second,
        backends: [v1.backend(100), v2.backend(0)],
      });
      assert.deepEqual(await tally(second, 50), { v1: 50 });
    });

    it("to no cluster that died", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(50), v2.backend(50)]));
      const agent = new Agent({ keepAlive: true });
      await v2.stop();
      upstreams = [v1];
      for (let sent = 0; sent < 40; sent++) assert.equal((await send(state.url, {}, agent)).body, "v1 done");
      agent.destroy();
    });
  });

  describe("limits what a version is given at a time", () => {
    const limits = async () =>
      Object.fromEntries(
        (await readServers(haproxyFiles(directory).adminSocket)).map((one) => [one.version, one.limit]),
      );
    const inFlight = async (version: string) =>
      (await readWeights(haproxyFiles(directory).adminSocket))[version]?.sessions;

    it("to twice what it works on, so that what comes in too fast waits where that costs nothing", async () => {
      const v1 = await upstream("v1");
      slots = 2;
      const state = await create(inputs([v1.backend(100)]));
      const requests = Array.from({ length: 10 }, () => send(`${state.url}/?ms=600`));
      await sleep(300);
      assert.equal(v1.headers.length, 4);
      assert.equal(await inFlight("v1"), 4);
      for (const { body } of await Promise.all(requests)) assert.equal(body, "v1 done");
    });

    it("and gives a version its share at once, also while requests wait for the other", async () => {
      const [v1, v2] = await pair();
      slots = 2;
      const state = await create(inputs([v1.backend(100), v2.backend(0)], { canary: "v2" }));
      const requests = Array.from({ length: 60 }, () => send(`${state.url}/?ms=200`));
      await sleep(300);
      await update(state, inputs([v1.backend(50), v2.backend(50)], { canary: "v2" }));
      const answers = await Promise.all(requests);
      assert.deepEqual(
        answers.filter(({ status }) => status !== 200),
        [],
      );
      assert.ok(v2.headers.length >= 15, `${v2.headers.length} of 60 requests`);
    });

    it("and takes a version's share away at once while requests wait", async () => {
      const [v1, v2] = await pair();
      slots = 2;
      const state = await create(inputs([v1.backend(50), v2.backend(50)], { canary: "v2" }));
      const requests = Array.from({ length: 60 }, () => send(`${state.url}/?ms=200`));
      await sleep(300);
      await update(state, inputs([v1.backend(100), v2.backend(0)], { canary: "v2" }));
      const had = v2.headers.length;
      const answers = await Promise.all(requests);
      assert.ok(answers.every(({ status }) => status === 200));
      assert.equal(v2.headers.length, had);
    });

    it("from the moment on when its traffic rises, and again after a restart of HAProxy", async () => {
      const [v1, v2] = await pair();
      slots = 3;
      const state = await create(inputs([v1.backend(100)]));
      slots = 5;
      const wanted = inputs([v1.backend(90), v2.backend(10)], { canary: "v2" });
      const after = await update(state, wanted);
      assert.deepEqual(await limits(), { v1: 6, v2: 10 });
      const [identity] = processesWithArgument(haproxyFiles(directory).config);
      process.kill(identity!.pid, "SIGKILL");
      await waitForEnd(identity!, 2000);
      await startHaproxyAgain();
      assert.deepEqual(await limits(), { v1: 6, v2: 10 });
      assert.deepEqual(type.diff(after, wanted), { changes: false, replaces: [] });
    });

    it("so that a version that answers nothing leaves the other's requests alone", async () => {
      const [v1, v2] = await pair();
      slots = 2;
      const state = await create(inputs([v1.backend(50), v2.backend(50)], { canary: "v2" }));
      const stuck = Array.from({ length: 8 }, () => send(`${state.url}/?ms=5000`, { "X-ANYSCALE-VERSION": "canary" }));
      const ended = Promise.allSettled(stuck);
      await sleep(200);
      assert.equal(await inFlight("v2"), 8);
      for (let sent = 0; sent < 20; sent++) {
        assert.equal((await send(state.url, { "X-ANYSCALE-VERSION": "primary" })).status, 200);
      }
      for (const one of upstreams) await one.stop();
      upstreams = [];
      await ended;
    });

    it("and says when to come back to whom no version can take", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      await tell(state.adminSocket, ["set server traffic/v1 state maint"]);
      const answer = await send(state.url);
      assert.deepEqual([answer.status, answer.headers["retry-after"]], [503, "10"]);
      assert.match(answer.body, /^Every version of this service is overloaded or down\. Try again later\.\n$/);
    });

    /** As HAProxy is started by whoever finds it dead, from its own files. */
    async function startHaproxyAgain(): Promise<void> {
      const { status } = spawnSync(process.env.RAYSHIFT_HAPROXY!, ["-D", "-f", haproxyFiles(directory).config]);
      assert.equal(status, 0);
      while ((await readServers(haproxyFiles(directory).adminSocket)).some(({ status }) => status !== "up"))
        await sleep(50);
    }
  });

  describe("orders a change of weights", () => {
    const had = (weights: Record<string, number>) =>
      Object.entries(weights).map(([version, weight]) => ({ proxy: "traffic" as const, version, weight }));
    const commands = (wanted: Record<string, number>, before: Record<string, number>) =>
      weightCommands(
        Object.entries(wanted).map(([version, weight]) => ({ version, weight })),
        had(before),
      );

    it("so that somebody always gets the traffic, also while all of it moves", () => {
      const expected = ["set server traffic/v2 weight 100", "set server traffic/v1 weight 0"];
      assert.deepEqual(commands({ v1: 0, v2: 100 }, { v1: 100, v2: 0 }), expected);
      assert.deepEqual(commands({ v2: 100, v1: 0 }, { v1: 100, v2: 0 }), expected);
    });

    it("taking the traffic of those that are not wanted last", () => {
      assert.deepEqual(commands({ v2: 100 }, { v1: 90, v2: 10 }), [
        "set server traffic/v2 weight 100",
        "set server traffic/v1 weight 0",
      ]);
    });
  });

  describe("refuses to raise traffic", () => {
    it("to a version that is not ready, and leaves everything as it was", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100)]));
      refuse = "v2";
      const attempt = update(state, inputs([v1.backend(90), v2.backend(10)], { canary: "v2" }));
      await assert.rejects(attempt, (error: Error) => {
        assert.ok(!(error instanceof PartialFailure));
        assert.match(
          error.message,
          /v2 is not ready for 10 % of the traffic: 1 of 4 replicas runs\. The traffic was left/,
        );
        return true;
      });
      assert.deepEqual(await weights(), { v1: 100 });
      assert.equal((await send(state.url, { "X-ANYSCALE-VERSION": "canary" })).status, 404);
    });

    it("but for a rollback at once, which nothing may hold up", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(50), v2.backend(50)], { canary: "v2" }));
      refuse = "v1";
      const after = await update(state, inputs([v1.backend(100)], { immediate: true }));
      assert.deepEqual(await weights(), { v1: 100 });
      assert.equal(after.immediate, undefined);
    });

    it("to a version that does not pass the health check", async () => {
      const [v1, v2] = await pair();
      v2.healthy = false;
      const impatient = loadBalancerType(async () => assert.fail("asked although unhealthy"), {
        ...patience,
        healthMs: 300,
      });
      const state = await create(inputs([v1.backend(100)]));
      const wanted = inputs([v1.backend(90), v2.backend(10)], { canary: "v2" });
      await assert.rejects(
        impatient.update(directory, state, wanted, context),
        new RegExp(`v2 does not pass the load balancer's health check \\(GET http://127.0.0.1:${v2.port}/-/healthz\\)`),
      );
      assert.deepEqual(await weights(), { v1: 100 });
    });

    it("when the update was cancelled before", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100)]));
      const abort = new AbortController();
      const cancelling = loadBalancerType(async () => {
        abort.abort(new Error("the update was cancelled"));
        return undefined;
      }, patience);
      const wanted = inputs([v1.backend(90), v2.backend(10)]);
      await assert.rejects(cancelling.update(directory, state, wanted, contextWith(abort.signal)), /was cancelled/);
      assert.deepEqual(await weights(), { v1: 100 });
    });
  });

  describe("routes by the version header", () => {
    it("to the role's version whatever the weights, and anything else as if it were not there", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100), v2.backend(0)], { canary: "v2" }));
      assert.deepEqual(await tally(state, 20, { "X-ANYSCALE-VERSION": "canary" }), { v2: 20 });
      assert.deepEqual(await tally(state, 20, { "X-ANYSCALE-VERSION": "primary" }), { v1: 20 });
      for (const value of ["Canary", "CANARY", "v2", "canary,primary", "", "canary2"]) {
        assert.deepEqual(await tally(state, 5, { "X-ANYSCALE-VERSION": value }), { v1: 5 }, value);
      }
      const back = await update(state, inputs([v1.backend(0), v2.backend(100)], { canary: "v2" }));
      assert.deepEqual(await tally(back, 20, { "X-ANYSCALE-VERSION": "primary" }), { v1: 20 });
    });

    it("to nothing when there is no canary", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      const answer = await send(state.url, { "X-ANYSCALE-VERSION": "canary" });
      assert.deepEqual([answer.status, answer.body], [404, "This service has no canary version now.\n"]);
      assert.equal(v1.headers.length, 0);
    });

    it("never to the other version when the role's own is down", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100), v2.backend(0)], { canary: "v2" }));
      await v2.stop();
      upstreams = [v1];
      const end = Date.now() + 8000;
      const up = async () =>
        (await readServers(state.adminSocket)).filter(({ version, status }) => version === "v2" && status === "up");
      while ((await up()).length > 0) {
        assert.ok(Date.now() < end, "v2 is still up");
        await sleep(50);
      }
      assert.equal((await send(state.url, { "X-ANYSCALE-VERSION": "canary" })).status, 503);
      assert.deepEqual(await tally(state, 10), { v1: 10 });
    });
  });

  describe("asks for the query token", () => {
    const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

    it("on every request, and does not pass it on", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)], { queryAuthToken: "open-sesame" }));
      for (const headers of [{}, bearer("wrong"), bearer("OPEN-SESAME"), { Authorization: "open-sesame" }]) {
        for (const pinned of [{}, { "X-ANYSCALE-VERSION": "primary" }, { "X-ANYSCALE-VERSION": "canary" }]) {
          const answer = await send(state.url, { ...headers, ...pinned });
          assert.equal(answer.status, 401);
          assert.equal(answer.headers["www-authenticate"], "Bearer");
          assert.match(answer.body, /^This service asks for its token: .*\n$/);
        }
      }
      assert.equal(v1.headers.length, 0);
      assert.equal((await send(state.url, bearer("open-sesame"))).body, "v1 done");
      assert.equal(v1.headers[0]?.authorization, undefined);
    });

    it("and keeps it out of files and process lists that others read", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)], { queryAuthToken: "open-sesame" }));
      assert.equal(statSync(directory).mode & 0o777, 0o700);
      for (const entry of readdirSync(directory)) {
        assert.equal(statSync(join(directory, entry)).mode & 0o077, 0, entry);
        if (entry !== "admin.sock") assert.ok(!readFileSync(join(directory, entry), "utf8").includes("open-sesame"));
      }
      for (const about of ["cmdline", "environ"]) {
        assert.ok(!readFileSync(`/proc/${state.pid}/${about}`, "utf8").includes("open-sesame"), about);
      }
      assert.deepEqual(type.secrets, ["queryAuthToken"]);
    });

    it("changes it, drops it and sets it again without a moment in which the wrong ones get in or the right ones not", async () => {
      const v1 = await upstream("v1");
      let state = await create(inputs([v1.backend(100)], { queryAuthToken: "first" }));
      const intruder = keepSending(state.url, bearer("wrong"), 401);
      await sleep(200);
      state = await update(state, inputs([v1.backend(100)], { queryAuthToken: "second" }));
      assert.equal((await send(state.url, bearer("first"))).status, 401);
      const owner = keepSending(state.url, bearer("second"), 200);
      await sleep(200);
      await intruder.stop();
      for (let round = 0; round < 5; round++) {
        state = await update(state, inputs([v1.backend(100)]));
        assert.equal(state.queryAuthToken, undefined);
        assert.equal((await send(state.url)).status, 200);
        state = await update(state, inputs([v1.backend(100)], { queryAuthToken: "second" }));
        assert.equal((await send(state.url)).status, 401);
      }
      await owner.stop();
      assert.deepEqual([intruder.failures, owner.failures], [[], []]);
      assert.ok(intruder.answered > 50 && owner.answered > 50);
    });
  });

  describe("promotes a canary", () => {
    it("under load without one failed request, the old primary's slow requests included", async () => {
      const [v1, v2] = await pair();
      const token = { Authorization: "Bearer t" };
      let state = await create(inputs([v1.backend(100)], { queryAuthToken: "t" }));
      for (const pinned of [{}, { "X-ANYSCALE-VERSION": "primary" }])
        keepSending(state.url, { ...token, ...pinned }, 200);
      const slow = send(`${state.url}/?ms=2500`, token);
      await sleep(200);
      for (const [first, second] of [
        [90, 10],
        [50, 50],
        [0, 100],
      ] as const) {
        const wanted = inputs([v1.backend(first), v2.backend(second)], { canary: "v2", queryAuthToken: "t" });
        state = await update(state, wanted);
        await sleep(200);
      }
      state = await update(state, inputs([v2.backend(100)], { queryAuthToken: "t" }));
      assert.equal((await slow).body, "v1 done");
      await sleep(200);
      await Promise.all(loads.map((load) => load.stop()));
      for (const load of loads) assert.deepEqual(load.failures, []);
      const answered = loads.reduce((sum, load) => sum + load.answered, 0);
      assert.ok(answered > 800, `only ${answered} requests`);
      assert.deepEqual(await weights(), { v2: 100 });
      assert.equal((await send(state.url, { ...token, "X-ANYSCALE-VERSION": "primary" })).body, "v2 done");
      assert.equal((await send(state.url, { ...token, "X-ANYSCALE-VERSION": "canary" })).status, 404);
      assert.deepEqual(warnings, []);
    });

    it("only after the requests of the leaving version are finished", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100)]));
      const slow = send(`${state.url}/?ms=1500`);
      await sleep(100);
      const start = Date.now();
      await update(state, inputs([v2.backend(100)]));
      assert.ok(Date.now() - start > 1000, "did not wait");
      assert.equal((await slow).body, "v1 done");
    });

    it("cutting off what is not finished in time, with a warning", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100)]));
      const slow = assert.rejects(send(`${state.url}/?ms=8000`));
      await sleep(100);
      await update(state, inputs([v2.backend(100)], { drainTimeoutSeconds: 0.5 }));
      await slow;
      assert.deepEqual(await weights(), { v2: 100 });
      assert.match(warnings.join(), /1 requests of version v1 were not finished after 0\.5 s/);
    });

    it("telling the stack the truth when it is cancelled while draining, and going on from there", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100)]));
      const slow = send(`${state.url}/?ms=1500`);
      await sleep(100);
      const abort = new AbortController();
      setTimeout(() => abort.abort(new Error("the update was cancelled")), 1200);
      const wanted = inputs([v2.backend(100)]);
      const failure: PartialFailure = await type.update(directory, state, wanted, contextWith(abort.signal)).then(
        () => assert.fail("was not cancelled"),
        (error) => error,
      );
      assert.ok(failure instanceof PartialFailure, String(failure));
      const left = failure.state as LoadBalancerState;
      assert.deepEqual(
        left.backends.map(({ version, weight }) => [version, weight]),
        [
          ["v1", 0],
          ["v2", 100],
        ],
      );
      assert.equal((await slow).body, "v1 done");
      await update(left, wanted);
      assert.deepEqual(await weights(), { v2: 100 });
    });
  });

  describe("notices what it was not told", () => {
    it("a weight that somebody set by hand, and repairs it", async () => {
      const [v1, v2] = await pair();
      const wanted = inputs([v1.backend(90), v2.backend(10)], { canary: "v2", queryAuthToken: "t" });
      const state = await create(wanted);
      assert.deepEqual(await type.read(directory, state, context), state);
      assert.deepEqual(type.diff(state, wanted), { changes: false, replaces: [] });
      const tampering = [
        "set server traffic/v2 weight 60",
        "set server traffic/v1 state maint",
        "set server pinned/v2 state maint",
        `set map ${haproxyFiles(directory).roles} canary v1`,
        `add acl ${haproxyFiles(directory).access} open`,
        `clear acl ${haproxyFiles(directory).tokens}`,
      ];
      for (const command of tampering) {
        await tell(state.adminSocket, [command]);
        const seen = await type.read(directory, state, context);
        assert.ok(seen !== undefined && type.diff(seen, wanted).changes, `not seen: ${command}`);
        await update(seen, wanted);
        assert.deepEqual(await type.read(directory, state, context), state, `not repaired: ${command}`);
      }
    });

    it("a version whose cluster is at another address now", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      const moved = await upstream("v1");
      await update(state, inputs([moved.backend(100)]));
      await send(state.url);
      assert.deepEqual([v1.headers.length, moved.headers.length], [0, 1]);
      const gone = { ...moved.backend(100), address: "127.0.0.1:9" };
      await assert.rejects(update(state, inputs([gone])), /v1 does not answer at its new address .*ECONNREFUSED/);
      assert.equal((await send(state.url)).body, "v1 done");
    });

    it("a version whose cluster is gone and was made anew elsewhere, before it answers, when it gets no more traffic", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(60), v2.backend(40)], { canary: "v2" }));
      const anew = { ...v2.backend(30), address: "127.0.0.1:9" };
      await v2.stop();
      while ((await readWeights(state.adminSocket)).v2?.status !== "down") await sleep(50);
      const after = await update(state, inputs([v1.backend(70), anew], { canary: "v2" }));
      assert.deepEqual(after.backends, [v1.backend(70), anew]);
      const more = { ...anew, address: "127.0.0.1:10", weight: 50 };
      await assert.rejects(update(after, inputs([v1.backend(50), more], { canary: "v2" })), /v2 does not answer/);
    });

    it("a load balancer that accepts a weight and does not apply it", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100), v2.backend(0)], { canary: "v2" }));
      const close = await lieAbout("v2", state.adminSocket);
      const attempt = update(state, inputs([v1.backend(50), v2.backend(50)], { canary: "v2" }));
      const failure: Error = await attempt.then(
        () => new Error("believed it"),
        (error) => error,
      );
      await close();
      assert.match(failure.message, /accepted the change but does not do it: traffic\/v2 has weight 0, not 50/);
      assert.ok(failure instanceof PartialFailure);
      assert.deepEqual(
        (failure.state as LoadBalancerState).backends.map(({ version, weight }) => [version, weight]),
        [
          ["v1", 50],
          ["v2", 0],
        ],
      );
    });
  });

  describe("repairs what a load balancer lied about", () => {
    it("a weight that was to fall and did not: the update fails, and the next one brings it about", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100), v2.backend(0)], { canary: "v2" }));
      const close = await lieAbout("v1", state.adminSocket);
      const wanted = inputs([v1.backend(50), v2.backend(50)], { canary: "v2" });
      const failure: unknown = await update(state, wanted).catch((error) => error);
      await close();
      assert.ok(failure instanceof PartialFailure);
      assert.match(failure.message, /does not do it: traffic\/v1 has weight 100, not 50 .* run the update again/);
      const left = failure.state as LoadBalancerState;
      assert.ok(type.diff(left, wanted).changes);
      await update(left, wanted);
      assert.deepEqual(await weights(), { v1: 50, v2: 50 });
    });
  });

  describe("begins and ends", () => {
    it("taking over a process that a killed create left, as it is wanted now", async () => {
      const [v1, v2] = await pair();
      const left = await create(inputs([v1.backend(100)]));
      const state = await create(inputs([v1.backend(75), v2.backend(25)], { canary: "v2" }));
      assert.deepEqual([state.pid, state.port], [left.pid, left.port]);
      assert.deepEqual(await weights(), { v1: 75, v2: 25 });
      assert.equal(processesWithArgument(haproxyFiles(directory).config).length, 1);
    });

    it("again after its process was killed, on the same port, with what it had last", async () => {
      const [v1, v2] = await pair();
      const first = await create(inputs([v1.backend(100)]));
      const wanted = inputs([v1.backend(60), v2.backend(40)], { canary: "v2", queryAuthToken: "t" });
      const state = await update(first, wanted);
      const kill = async () => {
        const identity = runningHaproxy(directory)!;
        process.kill(identity.pid, "SIGKILL");
        await waitForEnd(identity, 2000);
      };
      await kill();
      spawnSync(wanted.haproxy, ["-D", "-f", haproxyFiles(directory).config]);
      assert.deepEqual({ ...(await type.read(directory, state, context)), pid: 0 }, { ...state, pid: 0 });
      await kill();
      assert.equal(await type.read(directory, state, context), undefined);
      const again = await create(wanted);
      assert.equal(again.port, state.port);
      assert.notEqual(again.pid, state.pid);
      assert.deepEqual(await weights(), { v1: 60, v2: 40 });
      await kill();
      const updated = await update(state, inputs([v2.backend(100)]));
      assert.equal(updated.port, state.port);
      assert.deepEqual(await tally(updated, 5), { v2: 5 });
    });

    it("not on a port that is in use, and says who uses it", async () => {
      const v1 = await upstream("v1");
      const other = await upstream("other");
      await assert.rejects(
        create(inputs([v1.backend(100)], { port: other.port })),
        new RegExp(
          `port ${other.port} on 127\\.0\\.0\\.1 is in use by .+ \\(pid ${process.pid}\\)\\. .*another \`port\``,
        ),
      );
      assert.ok(!existsSync(directory));
      const state = await create(inputs([v1.backend(100)]));
      const second = inputs([v1.backend(100)], { directory: join(root, "second"), port: state.port });
      await assert.rejects(create(second), new RegExp(`in use by haproxy \\(pid ${state.pid}\\)`));
      // Also when the port is taken between the look and the start: HAProxy by itself would share it in silence.
      const start = startHaproxy(second.haproxy, second.directory, { ...second, port: state.port });
      await assert
        .rejects(start, new RegExp(`in use by haproxy \\(pid ${state.pid}\\)`))
        .finally(() => stopHaproxy(second.directory, 0, AbortSignal.timeout(5000)));
    });

    it("not without the binary, nor with a cluster that is not ready, and leaves nothing behind", async () => {
      const v1 = await upstream("v1");
      await assert.rejects(
        create(inputs([v1.backend(100)], { haproxy: "/nowhere/haproxy" })),
        /ENOENT.*Install HAProxy/,
      );
      assert.ok(!existsSync(directory));
      refuse = "v1";
      await assert.rejects(create(inputs([v1.backend(100)])), /v1 is not ready for 100 %/);
      assert.deepEqual(readdirSync(root), []);
      assert.equal(runningHaproxy(directory), undefined);
    });

    it("leaving no process and no file, but letting requests finish", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      const agent = new Agent({ keepAlive: true });
      await send(state.url, {}, agent);
      const slow = send(`${state.url}/?ms=800`, {}, agent);
      await sleep(100);
      await type.delete(directory, state, context);
      assert.equal((await slow).body, "v1 done");
      assert.equal(runningHaproxy(directory), undefined);
      assert.deepEqual(readdirSync(root), []);
      await assert.rejects(send(state.url), /ECONNREFUSED/);
      agent.destroy();
      await type.delete(directory, state, context);
      assert.equal(await type.read(directory, state, context), undefined);
    });

    it("again after a delete that was cancelled half way", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      const slow = send(`${state.url}/?ms=1000`);
      await sleep(100);
      await assert.rejects(type.delete(directory, state, contextWith(AbortSignal.timeout(300))));
      await assert.rejects(send(state.url), /ECONNREFUSED/);
      assert.equal(await type.read(directory, state, context), undefined);
      const again = await create(inputs([v1.backend(100)]));
      assert.equal((await slow).body, "v1 done");
      assert.equal(again.port, state.port);
      assert.equal((await send(again.url)).body, "v1 done");
    });

    it("leaving alone what others put into its directory", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      writeFileSync(join(directory, "notes"), "mine");
      await type.delete(directory, state, context);
      assert.deepEqual(readdirSync(directory), ["notes"]);
      assert.match(warnings.join(), /it also holds notes/);
    });
  });

  describe("checks its inputs", () => {
    const backend = (version: string, weight: number): Backend => {
      return { version, weight, address: "127.0.0.1:9001", dashboardUrl: "http://127.0.0.1:8265" };
    };

    it("and reports every problem at once", () => {
      const wrong: LoadBalancerInputs = {
        directory: `relative/${"x".repeat(100)}`,
        haproxy: "haproxy",
        port: 70_000,
        queryAuthToken: "two words;x",
        backends: [backend("v 1", 50), { ...backend("v2", 20.5), address: "localhost" }, backend("v2", 20)],
        primary: "v3",
        canary: "v3",
        drainTimeoutSeconds: -1,
      };
      const found = new Set(type.check(wrong).map(({ property }) => property));
      const expected = ["directory", "haproxy", "port", "queryAuthToken", "drainTimeoutSeconds", "primary", "canary"];
      for (const property of [...expected, "backends", "backends[0].version", "backends[1].address"]) {
        assert.ok(found.has(property), property);
      }
      assert.ok(found.has("backends[1].weight") && found.has("backends[2].version"));
      assert.ok(!JSON.stringify(type.check(wrong)).includes("two words"), "the token is in a message");
    });

    it("and takes good ones, and ones that a preview does not know yet", () => {
      assert.deepEqual(type.check(inputs([backend("v1", 90), backend("v2.1_a-b", 10)], { canary: "v2.1_a-b" })), []);
      assert.deepEqual(type.check({}), []);
      const unknown = [{ version: "v1", weight: 100 }] as unknown as Backend[];
      assert.deepEqual(type.check({ backends: unknown, primary: "v1" }), []);
    });

    it("and takes the longest directory that it lets pass", async () => {
      const v1 = await upstream("v1");
      directory = `${root}/${"d".repeat(86 - root.length - 1)}`;
      const wanted = inputs([v1.backend(100)]);
      assert.deepEqual(type.check(wanted), []);
      assert.equal((await send((await create(wanted)).url)).status, 200);
      assert.equal(type.check({ directory: `${directory}d` }).length, 1);
    });

    it("and sees which differences matter", () => {
      const wanted = inputs([backend("v1", 90), backend("v2", 10)], { canary: "v2" });
      const state = { ...wanted, url: "http://127.0.0.1:20001", port: 20_001, adminSocket: "x", pid: 1 };
      const differs = (changes: Partial<LoadBalancerInputs>) => type.diff(state, { ...wanted, ...changes });
      assert.deepEqual(differs({ backends: [backend("v2", 10), backend("v1", 90)] }), { changes: false, replaces: [] });
      assert.deepEqual(differs({ port: 20_001 }), { changes: false, replaces: [] });
      assert.deepEqual(differs({ port: 20_002 }), { changes: true, replaces: ["port"] });
      assert.deepEqual(differs({ directory: "/elsewhere" }), { changes: true, replaces: ["directory"] });
      for (const changes of [
        { backends: [backend("v1", 80), backend("v2", 20)] },
        { primary: "v2", canary: "v1" },
        { queryAuthToken: "t" },
        { drainTimeoutSeconds: 6 },
        { haproxy: "/usr/sbin/haproxy" },
      ]) {
        assert.deepEqual(differs(changes), { changes: true, replaces: [] }, JSON.stringify(changes));
      }
    });
  });
});
