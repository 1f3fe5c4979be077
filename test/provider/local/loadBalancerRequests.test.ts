import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readCounts, readServers, readWeights, tell } from "../../../provider/local/haproxyAdmin";
import { haproxyFiles } from "../../../provider/local/haproxyConfig";
import { BalancerForTests, send } from "./balancerForTests";

describe("requests through the local load balancer", function () {
  this.timeout(20_000);
  const lb = new BalancerForTests();
  const { create, inputs, keepSending, pair, tally, type, update, upstream } = lb;

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
      assert.deepEqual(lb.asked, ["v1 100"]);
      const second = await update(first, inputs([v1.backend(70), v2.backend(30)], { canary: "v2" }));
      assert.deepEqual(lb.asked, ["v1 100", "v2 30"]);
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
      lb.upstreams = [v1];
      for (let sent = 0; sent < 40; sent++) assert.equal((await send(state.url, {}, agent)).body, "v1 done");
      agent.destroy();
    });
  });

  describe("limits what a version is given at a time", () => {
    const limits = async () =>
      Object.fromEntries(
        (await readServers(haproxyFiles(lb.directory).adminSocket)).map((one) => [one.version, one.limit]),
      );
    const inFlight = async (version: string) =>
      (await readWeights(haproxyFiles(lb.directory).adminSocket))[version]?.sessions;

    it("to twice what it works on, so that what comes in too fast waits where that costs nothing", async () => {
      const v1 = await upstream("v1");
      lb.slots = 2;
      const state = await create(inputs([v1.backend(100)]));
      const requests = Array.from({ length: 10 }, () => send(`${state.url}/?ms=600`));
      await sleep(300);
      assert.equal(v1.headers.length, 4);
      assert.equal(await inFlight("v1"), 4);
      for (const { body } of await Promise.all(requests)) assert.equal(body, "v1 done");
    });

    it("and gives a version its share at once, also while requests wait for the other", async () => {
      const [v1, v2] = await pair();
      lb.slots = 2;
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
      lb.slots = 2;
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
      lb.slots = 3;
      const state = await create(inputs([v1.backend(100)]));
      lb.slots = 5;
      const wanted = inputs([v1.backend(90), v2.backend(10)], { canary: "v2" });
      const after = await update(state, wanted);
      assert.deepEqual(await limits(), { v1: 6, v2: 10 });
      await lb.kill();
      await startHaproxyAgain();
      assert.deepEqual(await limits(), { v1: 6, v2: 10 });
      assert.deepEqual(type.diff(after, wanted), { changes: false, replaces: [] });
    });

    it("so that a version that answers nothing leaves the other's requests alone", async () => {
      const [v1, v2] = await pair();
      lb.slots = 2;
      const state = await create(inputs([v1.backend(50), v2.backend(50)], { canary: "v2" }));
      const stuck = Array.from({ length: 8 }, () => send(`${state.url}/?ms=5000`, { "X-ANYSCALE-VERSION": "canary" }));
      const ended = Promise.allSettled(stuck);
      await sleep(200);
      assert.equal(await inFlight("v2"), 8);
      for (let sent = 0; sent < 20; sent++) {
        assert.equal((await send(state.url, { "X-ANYSCALE-VERSION": "primary" })).status, 200);
      }
      for (const one of lb.upstreams) await one.stop();
      lb.upstreams = [];
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

    async function startHaproxyAgain(): Promise<void> {
      lb.startAgain();
      while ((await readServers(haproxyFiles(lb.directory).adminSocket)).some(({ status }) => status !== "up"))
        await sleep(50);
    }
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
      lb.upstreams = [v1];
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
      assert.equal(statSync(lb.directory).mode & 0o777, 0o700);
      for (const entry of readdirSync(lb.directory)) {
        assert.equal(statSync(join(lb.directory, entry)).mode & 0o077, 0, entry);
        if (entry !== "admin.sock") assert.ok(!readFileSync(join(lb.directory, entry), "utf8").includes("open-sesame"));
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
});
