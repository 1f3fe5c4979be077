import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type LoadBalancerState, loadBalancerType } from "../../../provider/local/loadBalancer";
import { weightCommands } from "../../../provider/local/shift";
import { PartialFailure } from "../../../provider/resource";
import { lieAbout } from "../../fake/lyingSocket";
import { BalancerForTests, patience, send } from "./balancerForTests";

describe("a change of weights at the local load balancer", function () {
  this.timeout(20_000);
  const lb = new BalancerForTests();
  const { create, inputs, keepSending, pair, type, update, weights } = lb;

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
      lb.refuse = "v2";
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
      lb.refuse = "v1";
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
        impatient.update(lb.directory, state, wanted, lb.context),
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
      await assert.rejects(
        cancelling.update(lb.directory, state, wanted, lb.contextWith(abort.signal)),
        /was cancelled/,
      );
      assert.deepEqual(await weights(), { v1: 100 });
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
      await Promise.all(lb.loads.map((load) => load.stop()));
      for (const load of lb.loads) assert.deepEqual(load.failures, []);
      const answered = lb.loads.reduce((sum, load) => sum + load.answered, 0);
      assert.ok(answered > 800, `only ${answered} requests`);
      assert.deepEqual(await weights(), { v2: 100 });
      assert.equal((await send(state.url, { ...token, "X-ANYSCALE-VERSION": "primary" })).body, "v2 done");
      assert.equal((await send(state.url, { ...token, "X-ANYSCALE-VERSION": "canary" })).status, 404);
      assert.deepEqual(lb.warnings, []);
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
      assert.match(lb.warnings.join(), /1 requests of version v1 were not finished after 0\.5 s/);
    });

    it("telling the stack the truth when it is cancelled while draining, and going on from there", async () => {
      const [v1, v2] = await pair();
      const state = await create(inputs([v1.backend(100)]));
      const slow = send(`${state.url}/?ms=1500`);
      await sleep(100);
      const abort = new AbortController();
      setTimeout(() => abort.abort(new Error("the update was cancelled")), 1200);
      const wanted = inputs([v2.backend(100)]);
      const failure: PartialFailure = await type.update(lb.directory, state, wanted, lb.contextWith(abort.signal)).then(
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
});
