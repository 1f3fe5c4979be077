import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readCounts, readWeights } from "../../provider/local/haproxyAdmin";
import { ask, Load } from "../../rollout/demo/load";
import { deploy, plan, RolledBack, type RolloutEvent, rollback, status, terminate } from "../../rollout/index";
import { root } from "../setup/support";
import { reachedIn } from "../waypoints";
import { InvariantWatch } from "./invariants";
import { localSources } from "./localSources";
import { replicas, TestProject, versionAnswering } from "./project";

const versions = ["v1", "v2", "v3", "v4"];
const surge = 50;
/** What a service of this size just carries beside a cluster that starts: requests pile up in it. */
const mostPerSecond = 80;
/** Elsewhere: at the most, half of a run's processor time goes into the requests. */
const requestsPerSecond = 40;

/**
 * Rollouts on the real parts: the Pulumi engine, Ray clusters with workers from zero, HAProxy. The tests build on each
 * other, as commands of a day would; each says where it starts.
 */
describe("a service on this host", function () {
  this.timeout(300_000);
  this.bail(true);
  let project: TestProject;
  let endpoint: { url: string; token: string };

  before(() => {
    project = new TestProject();
  });
  after(async () => {
    await project.remove(versions);
  });

  const limits = { full: replicas, surge, workers: (replicas * (100 + surge)) / 100 };

  /** Runs something under load and under the eyes of the invariants; no request may fail, none may be broken. */
  async function safely<T>(run: () => Promise<T>, perSecond = requestsPerSecond): Promise<T> {
    const watch = new InvariantWatch(localSources(project.project, versions), limits);
    const load = new Load(endpoint, perSecond);
    let result: T;
    try {
      result = await run();
    } finally {
      await watch.stop();
      await load.stop();
    }
    const { sent, failed } = load.counts;
    assert.deepEqual(watch.violations, []);
    assert.ok(sent > perSecond, `${sent} requests`);
    assert.equal(failed, 0, JSON.stringify({ ...load.counts, times: undefined }));
    // Looks are slow where the host is busy; fewer than this prove nothing.
    assert.ok(watch.samples >= 20, `${watch.samples} samples, ${watch.samplesPerSecond.toFixed(1)} a second`);
    return result;
  }

  const versionOf = (headers: Record<string, string> = {}) => versionAnswering(endpoint, headers);

  /** The lines of an answer that takes so many seconds, two a second; what ended it early is the last one. */
  async function stream(seconds: number): Promise<string[]> {
    const headers = { authorization: `Bearer ${endpoint.token}` };
    const response = await fetch(`${endpoint.url}/stream?seconds=${seconds}`, { headers });
    const lines: string[] = [];
    try {
      let rest = "";
      for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
        const parts = (rest + part).split("\n");
        rest = parts.pop() as string;
        lines.push(...parts);
      }
    } catch (error) {
      lines.push((error as Error).message);
    }
    return lines;
  }

  /** The canary's share of some seconds of load lies where 999 of 1000 would that are drawn at random. */
  async function assertSplit(percent: number, seconds: number): Promise<void> {
    const admin = join(project.directoryOf("load-balancer"), "admin.sock");
    const before = await readCounts(admin);
    await sleep(seconds * 1000);
    const after = await readCounts(admin);
    const answered = (version: string) => (after[version]?.requests ?? 0) - (before[version]?.requests ?? 0);
    const [primary, canary] = [answered("v2"), answered("v4")];
    const sent = primary + canary;
    const share = percent / 100;
    const bound = 3.29 * Math.sqrt(sent * share * (1 - share));
    assert.ok(sent >= 0.8 * requestsPerSecond * seconds, `${sent} requests in ${seconds} s`);
    assert.ok(Math.abs(canary - sent * share) <= bound, `${canary} of ${sent} requests at ${percent}%`);
  }

  async function assertNothingToDo(): Promise<void> {
    const preview = await project.pulumi("preview", "--expect-no-changes");
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
  }

  describe("before anything is deployed", () => {
    it("is terminated, and waiting for it fails with its state", async () => {
      assert.equal((await status({ folder: project.folder })).state, "TERMINATED");
    });

    it("refuses bad input with one message, exit code 2, and no change", async () => {
      const file = project.serviceFile("v1");
      const config = readFileSync(join(project.folder, "Pulumi.dev.yaml"), "utf8");
      const attempts: Array<[string[], RegExp]> = [
        [
          ["deploy", "-f", file, "--max-surge-percent", "0"],
          /--max-surge-percent: "0" must be a whole number from 1 to 100/,
        ],
        [["deploy", "-f", file, "--max-surge-percent", "101"], /--max-surge-percent: "101"/],
        [["deploy", "-f", file, "--max-surge-percent", "ten"], /--max-surge-percent: "ten"/],
        [
          ["deploy", "-f", file, "--canary-percent", "-1"],
          /--canary-percent: "-1" must be a whole number from 0 to 100/,
        ],
        [["deploy", "-f", join(project.folder, "none.yaml")], /--file: .*is not there/],
        [["deploy", "--surge", "50"], /unknown option '--surge'/],
      ];
      for (const [args, message] of attempts) {
        const ran = await project.rayshift(...args);
        assert.equal(ran.code, 2, `${args.join(" ")}: ${ran.stderr}`);
        assert.match(ran.stderr, message);
        assert.doesNotMatch(ran.stderr, /\n\s+at /);
      }
      assert.equal(readFileSync(join(project.folder, "Pulumi.dev.yaml"), "utf8"), config);
    });

    it("refuses nodes that could not be given back under a surge, and says what they cost without one", async () => {
      const service = project.service("v1");
      service.compute_config = {
        worker_nodes: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, min_nodes: 1, max_nodes: 8 }],
      };
      await assert.rejects(deploy({ folder: project.folder, service, maxSurgePercent: surge }), /min_nodes/);
      const planned = await plan({ folder: project.folder, service });
      assert.ok(
        planned.notices.some((notice) => /min_nodes/.test(notice)),
        planned.notices.join(),
      );
    });

    it("refuses a port that something listens on before it starts a cluster", async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      const file = join(project.folder, "Pulumi.dev.yaml");
      const config = readFileSync(file, "utf8");
      writeFileSync(file, `${config}  rayshift:port: ${port}\n`);
      const ran = await project.rayshift("deploy", "-f", project.serviceFile("v1"));
      writeFileSync(file, config);
      server.close();
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, new RegExp(`rayshift:port: ${port} is in use on 127.0.0.1`));
      assert.deepEqual(project.leftovers(versions), []);
    });

    it("refuses an import path that leads nowhere before it starts a cluster", async () => {
      const service = { ...project.service("v1"), applications: [{ import_path: "versions:ap" }] };
      await assert.rejects(deploy({ folder: project.folder, service }), /versions has no ap; did you mean `app`\?/);
      assert.deepEqual(project.leftovers(versions), []);
    });
  });

  describe("that is deployed for the first time", () => {
    it("runs one version with all the traffic, and takes no flags for rollouts", async () => {
      const events: RolloutEvent[] = [];
      const result = await deploy({
        folder: project.folder,
        service: project.service("v1"),
        maxSurgePercent: surge,
        onEvent: (event) => events.push(event),
      });
      assert.equal(result.outcome, "deployed");
      assert.ok(events.some((event) => event.event === "notice" && /maxSurgePercent/.test(event.message)));
      const token = await project.pulumi("stack", "output", "queryAuthToken", "--show-secrets");
      endpoint = { url: result.url, token: token.stdout.trim() };
      assert.equal(await versionOf(), "v1");
    });

    it("asks for the token", async () => {
      assert.deepEqual(
        await ask({ url: endpoint.url, token: undefined }, "").then((ending) => "status" in ending && ending.status),
        401,
      );
      assert.deepEqual(
        await ask({ url: endpoint.url, token: "wrong" }, "").then((ending) => "status" in ending && ending.status),
        401,
      );
    });

    it("keeps the token out of the plain state and of every command line", async () => {
      const state = await project.pulumi("stack", "export");
      assert.ok(!state.stdout.includes(endpoint.token));
      const { execFileSync } = await import("node:child_process");
      assert.ok(!execFileSync("ps", ["-eo", "args"], { encoding: "utf8" }).includes(endpoint.token));
    });

    it("refuses a passphrase that does not open its secrets", async () => {
      const wrong = { PULUMI_CONFIG_PASSPHRASE: "another" };
      const ran = await project.rayshiftWith(wrong, "deploy", "-f", project.serviceFile("v2"));
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, /passphrase does not open this stack's secrets/);
      assert.equal(await versionOf(), "v1");
    });

    it("has nothing to do for a plain update, nor for the same deploy again", async () => {
      await assertNothingToDo();
      const again = await deploy({ folder: project.folder, service: project.service("v1") });
      assert.equal(again.outcome, "unchanged");
    });

    it("gives a clear 4xx to whoever asks for a canary", async () => {
      assert.equal(await versionOf({ "X-ANYSCALE-VERSION": "canary" }), "404");
    });
  });

  describe("that rolls out under a surge of 50%", () => {
    it("goes to the new version by waypoints, with every invariant kept and no failed request", async () => {
      const reached: string[] = [];
      const streams: Promise<string[]>[] = [];
      const result = await safely(() => {
        // Two for each replica: whichever Ray ends in the middle of the rollout has one that goes on for long after that.
        for (let each = 0; each < 2 * replicas; each++) streams.push(stream(60));
        return deploy({
          folder: project.folder,
          service: project.service("v2"),
          maxSurgePercent: surge,
          onEvent: (event) => reached.push(...reachedIn([event])),
        });
      }, mostPerSecond);
      for (const lines of await Promise.all(streams)) {
        assert.equal(lines.length, 120, lines.at(-1));
        assert.ok(lines.every((line) => line.endsWith(" v1")));
      }
      assert.equal(result.outcome, "completed");
      assert.deepEqual(reached, ["50 50 50", "0 100 100", "100 0 0"]);
      assert.equal(await versionOf(), "v2");
      assert.deepEqual(
        project.leftovers(["v1"]).filter((left) => left.startsWith("cluster")),
        [],
      );
      await assertNothingToDo();
    });

    it("takes a version that cannot start back by itself, says why in Ray's words, and is as it was", async () => {
      const before = await project.pulumi("stack", "output", "rollout", "--json");
      const attempt = safely(() =>
        deploy({
          folder: project.folder,
          service: project.service("v3", { FAIL: "the model file is missing" }),
          maxSurgePercent: surge,
        }),
      );
      await assert.rejects(attempt, (error: Error) => {
        assert.ok(error instanceof RolledBack);
        assert.equal(error.exitCode, 3);
        assert.match(error.message, /v3 was rolled back.*the model file is missing/s);
        return true;
      });
      const after = await project.pulumi("stack", "output", "rollout", "--json");
      assert.equal(JSON.parse(after.stdout).digest, JSON.parse(before.stdout).digest);
      assert.deepEqual(
        project.leftovers(["v3"]).filter((left) => left.startsWith("cluster")),
        [],
      );
      await assertNothingToDo();
    });
  });

  describe("whose canary becomes unhealthy in the middle of a rollout", () => {
    it("takes its traffic away within seconds, and goes back at once", async function () {
      const load = new Load(endpoint, requestsPerSecond);
      const flag = join(project.folder, "break");
      const admin = join(project.directoryOf("load-balancer"), "admin.sock");
      let toldAt = 0;
      const attempt = deploy({
        folder: project.folder,
        service: project.service("v3", { BREAK: flag }),
        maxSurgePercent: surge,
        onEvent: (event) => {
          if (event.event === "reached" && event.waypoint.canaryTraffic === 50) writeFileSync(flag, "");
          if (event.event === "unhealthy") toldAt = Date.now();
        },
      });
      const outcome = assert.rejects(
        attempt,
        (error: Error) => error instanceof RolledBack && /health/.test(error.message),
      );
      while (toldAt === 0) await sleep(20);
      while (((await readWeights(admin)).v3?.weight ?? 0) > 0) await sleep(20);
      assert.ok(Date.now() - toldAt < 3000, `${Date.now() - toldAt} ms`);
      await outcome;
      const { sent, failed } = await load.stop();
      // Requests may fail from the moment the replicas fail to the one when the traffic is away, and no longer.
      this.test!.title += ` (${failed} of ${sent} requests failed)`;
      assert.ok(failed <= 5 * requestsPerSecond, JSON.stringify({ ...load.counts, times: undefined }));
      assert.equal(await versionOf(), "v2");
      await assertNothingToDo();
    });
  });

  describe("that is held", () => {
    it("stays at its split, reaches both versions by header, and goes back by hand", async () => {
      await safely(async () => {
        const held = await deploy({
          folder: project.folder,
          service: project.service("v4"),
          canaryPercent: 25,
          maxSurgePercent: surge,
        });
        assert.equal(held.outcome, "held");
        await assertSplit(25, 4);
        await assertNothingToDo();
        assert.equal(await versionOf({ "X-ANYSCALE-VERSION": "primary" }), "v2");
        assert.equal(await versionOf({ "X-ANYSCALE-VERSION": "canary" }), "v4");
        const { state, canary } = await status({ folder: project.folder });
        assert.deepEqual([state, canary?.traffic, canary?.capacity], ["ROLLING_OUT", 25, 25]);
      });
    });

    it("refuses a step of a plain update that the surge does not allow, and changes nothing", async () => {
      const removed = await project.pulumi("config", "rm", "canaryPercent");
      assert.equal(removed.code, 0, removed.stderr);
      const up = await project.pulumi("up", "--yes", "--skip-preview");
      assert.notEqual(up.code, 0);
      assert.match(up.stdout + up.stderr, /takes more than one update under a surge of 50%.*rayshift deploy/s);
      assert.equal((await status({ folder: project.folder })).canary?.traffic, 25);
    });

    it("moves to another split by a plain update after an edit of the config", async () => {
      await safely(async () => {
        await project.pulumi("config", "set", "canaryPercent", "50");
        const update = project.pulumi("up", "--yes", "--skip-preview");
        while (!project.isLocked()) await sleep(20);
        const config = readFileSync(join(project.folder, "Pulumi.dev.yaml"), "utf8");
        const other = await project.rayshift("deploy", "-f", project.serviceFile("v4"), "--canary-percent", "75");
        const up = await update;
        assert.equal(other.code, 5, other.stdout + other.stderr);
        assert.match(other.stderr, /another update works on this stack .*pid \d+/);
        assert.equal(readFileSync(join(project.folder, "Pulumi.dev.yaml"), "utf8"), config);
        assert.equal(up.code, 0, up.stdout + up.stderr);
        assert.equal((await status({ folder: project.folder })).canary?.traffic, 50);
        await assertSplit(50, 4);
      });
    });

    it("goes back to what it was when it is rolled back", async () => {
      const { outcome } = await safely(() => rollback({ folder: project.folder }));
      assert.equal(outcome, "rolledBack");
      assert.equal(await versionOf(), "v2");
      await assertNothingToDo();
    });
  });

  describe("whose driver is killed in the middle of a rollout", () => {
    it("is taken up where it stood by the same command", async () => {
      const file = project.serviceFile("v1");
      await safely(async () => {
        const args = [
          join(root, "dist", "rollout", "cli", "main.js"),
          "deploy",
          "-f",
          file,
          "--max-surge-percent",
          "50",
          "--json",
        ];
        const driver = spawn(process.execPath, args, {
          cwd: project.folder,
          env: project.environment,
          stdio: ["ignore", "pipe", "ignore"],
        });
        let output = "";
        driver.stdout.setEncoding("utf8").on("data", (text: string) => {
          output += text;
        });
        while (!/"event":"reached"/.test(output)) await sleep(100);
        await sleep(1500);
        const second = await project.rayshift("rollback");
        assert.equal(second.code, 5, second.stderr);
        assert.match(second.stderr, /rayshift deploy \(pid \d+/);
        driver.kill("SIGKILL");
        await once(driver, "close");
        const again = await project.rayshift("deploy", "-f", file, "--max-surge-percent", "50");
        assert.equal(again.code, 0, again.stdout + again.stderr);
        assert.equal(await versionOf(), "v1");
      });
      assert.deepEqual(
        project.leftovers(["v2"]).filter((left) => left.startsWith("cluster")),
        [],
      );
    });
  });

  describe("whose engine is killed while it makes the canary's cluster", () => {
    it("is rolled out by the same command, with one cluster and nothing left behind", async () => {
      const args = ["deploy", "-f", project.serviceFile("v2"), "--max-surge-percent", String(surge)];
      await safely(async () => {
        const driver = project.startRayshift(...args);
        while (project.headPid("v2") === undefined) await sleep(50);
        await sleep(1000);
        const [engine] = project.engines();
        process.kill(driver.pid!, "SIGKILL");
        process.kill(engine!, "SIGKILL");
        const again = await project.rayshift(...args);
        assert.equal(again.code, 0, again.stdout + again.stderr);
        assert.equal(await versionOf(), "v2");
      });
      assert.deepEqual(
        project.leftovers(["v1"]).filter((left) => left.startsWith("cluster")),
        [],
      );
      await assertNothingToDo();
    });
  });

  describe("whose parts are killed", () => {
    it("is repaired by the next update after a refresh", async () => {
      process.kill(project.headPid("v2")!, "SIGKILL");
      await sleep(2000);
      const now = await status({ folder: project.folder });
      assert.equal(now.state, "UNHEALTHY");
      const up = await project.pulumi("up", "--yes", "--skip-preview", "--refresh");
      assert.equal(up.code, 0, up.stdout + up.stderr);
      assert.equal(await versionOf(), "v2");
      assert.equal((await status({ folder: project.folder })).state, "RUNNING");
    });
  });

  describe("that is terminated", () => {
    it("leaves no process, socket or file", async () => {
      assert.equal((await terminate({ folder: project.folder })).outcome, "terminated");
      assert.deepEqual(project.leftovers(versions), []);
      assert.equal((await status({ folder: project.folder })).state, "TERMINATED");
    });
  });
});
