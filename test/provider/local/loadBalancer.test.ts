import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readWeights, tell } from "../../../provider/local/haproxyAdmin";
import { haproxyFiles } from "../../../provider/local/haproxyConfig";
import { requireFreePort, runningHaproxy, startHaproxy, stopHaproxy } from "../../../provider/local/haproxyProcess";
import type { LoadBalancerInputs, LoadBalancerState } from "../../../provider/local/loadBalancer";
import { processesWithArgument } from "../../../provider/local/process";
import type { Backend } from "../../../provider/local/shift";
import { PartialFailure } from "../../../provider/resource";
import { lieAbout } from "../../fake/lyingSocket";
import { BalancerForTests, send } from "./balancerForTests";

describe("the local load balancer", function () {
  this.timeout(20_000);
  const lb = new BalancerForTests();
  const { create, inputs, pair, tally, type, update, upstream, weights } = lb;

  describe("notices what it was not told", () => {
    it("a weight that somebody set by hand, and repairs it", async () => {
      const [v1, v2] = await pair();
      const wanted = inputs([v1.backend(90), v2.backend(10)], { canary: "v2", queryAuthToken: "t" });
      const state = await create(wanted);
      assert.deepEqual(await type.read(lb.directory, state, lb.context), state);
      assert.deepEqual(type.diff(state, wanted), { changes: false, replaces: [] });
      const tampering = [
        "set server traffic/v2 weight 60",
        "set server traffic/v1 state maint",
        "set server pinned/v2 state maint",
        `set map ${haproxyFiles(lb.directory).roles} canary v1`,
        `add acl ${haproxyFiles(lb.directory).access} open`,
        `clear acl ${haproxyFiles(lb.directory).tokens}`,
      ];
      for (const command of tampering) {
        await tell(state.adminSocket, [command]);
        const seen = await type.read(lb.directory, state, lb.context);
        assert.ok(seen !== undefined && type.diff(seen, wanted).changes, `not seen: ${command}`);
        await update(seen, wanted);
        assert.deepEqual(await type.read(lb.directory, state, lb.context), state, `not repaired: ${command}`);
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

  describe("begins and ends", () => {
    it("taking over a process that a killed create left, as it is wanted now", async () => {
      const [v1, v2] = await pair();
      const left = await create(inputs([v1.backend(100)]));
      const state = await create(inputs([v1.backend(75), v2.backend(25)], { canary: "v2" }));
      assert.deepEqual([state.pid, state.port], [left.pid, left.port]);
      assert.deepEqual(await weights(), { v1: 75, v2: 25 });
      assert.equal(processesWithArgument(haproxyFiles(lb.directory).config).length, 1);
    });

    it("again after its process was killed, on the same port, with what it had last", async () => {
      const [v1, v2] = await pair();
      const first = await create(inputs([v1.backend(100)]));
      const wanted = inputs([v1.backend(60), v2.backend(40)], { canary: "v2", queryAuthToken: "t" });
      const state = await update(first, wanted);
      await lb.kill();
      lb.startAgain();
      assert.deepEqual({ ...(await type.read(lb.directory, state, lb.context)), pid: 0 }, { ...state, pid: 0 });
      await lb.kill();
      assert.equal(await type.read(lb.directory, state, lb.context), undefined);
      const again = await create(wanted);
      assert.equal(again.port, state.port);
      assert.notEqual(again.pid, state.pid);
      assert.deepEqual(await weights(), { v1: 60, v2: 40 });
      await lb.kill();
      const updated = await update(state, inputs([v2.backend(100)]));
      assert.equal(updated.port, state.port);
      assert.deepEqual(await tally(updated, 5), { v2: 5 });
    });

    it("also an instant after its process was killed, when its port has still to become free", async () => {
      const v1 = await upstream("v1");
      const wanted = inputs([v1.backend(100)]);
      const { port } = await create(wanted);
      for (let round = 0; round < 15; round++) {
        await lb.kill();
        await requireFreePort(port);
        lb.startAgain();
      }
      assert.equal((await create(wanted)).port, port);
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
      assert.ok(!existsSync(lb.directory));
      const state = await create(inputs([v1.backend(100)]));
      const second = inputs([v1.backend(100)], { directory: join(lb.root, "second"), port: state.port });
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
      assert.ok(!existsSync(lb.directory));
      lb.refuse = "v1";
      await assert.rejects(create(inputs([v1.backend(100)])), /v1 is not ready for 100 %/);
      assert.deepEqual(readdirSync(lb.root), []);
      assert.equal(runningHaproxy(lb.directory), undefined);
    });

    it("leaving no process and no file, but letting requests finish", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      const agent = new Agent({ keepAlive: true });
      await send(state.url, {}, agent);
      const slow = send(`${state.url}/?ms=800`, {}, agent);
      await sleep(100);
      await type.delete(lb.directory, state, lb.context);
      assert.equal((await slow).body, "v1 done");
      assert.equal(runningHaproxy(lb.directory), undefined);
      assert.deepEqual(readdirSync(lb.root), []);
      await assert.rejects(send(state.url), /ECONNREFUSED/);
      agent.destroy();
      await type.delete(lb.directory, state, lb.context);
      assert.equal(await type.read(lb.directory, state, lb.context), undefined);
    });

    it("again after a delete that was cancelled half way", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      const slow = send(`${state.url}/?ms=1000`);
      await sleep(100);
      await assert.rejects(type.delete(lb.directory, state, lb.contextWith(AbortSignal.timeout(300))));
      await assert.rejects(send(state.url), /ECONNREFUSED/);
      assert.equal(await type.read(lb.directory, state, lb.context), undefined);
      const again = await create(inputs([v1.backend(100)]));
      assert.equal((await slow).body, "v1 done");
      assert.equal(again.port, state.port);
      assert.equal((await send(again.url)).body, "v1 done");
    });

    it("leaving alone what others put into its directory", async () => {
      const v1 = await upstream("v1");
      const state = await create(inputs([v1.backend(100)]));
      writeFileSync(join(lb.directory, "notes"), "mine");
      await type.delete(lb.directory, state, lb.context);
      assert.deepEqual(readdirSync(lb.directory), ["notes"]);
      assert.match(lb.warnings.join(), /it also holds notes/);
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
      lb.directory = `${lb.root}/${"d".repeat(86 - lb.root.length - 1)}`;
      const wanted = inputs([v1.backend(100)]);
      assert.deepEqual(type.check(wanted), []);
      assert.equal((await send((await create(wanted)).url)).status, 200);
      assert.equal(type.check({ directory: `${lb.directory}d` }).length, 1);
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
