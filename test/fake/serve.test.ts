import assert from "node:assert/strict";
import type { ServeDeployment } from "../../provider/serve/config";
import { verdict } from "../../provider/serve/health";
import { deploymentsOf, type Observation, parseObservation } from "../../provider/serve/observation";
import { FakeServe } from "./serve";

const service = (capacity: number | null, environment: Record<string, string> = {}): ServeDeployment => ({
  target_capacity: capacity,
  applications: [
    {
      import_path: "versions:app",
      runtime_env: { env_vars: { VERSION: "v1", ...environment } },
      deployments: [{ name: "Versions", num_replicas: 7 }],
    },
  ],
});

/** The fake on a clock that only the test moves. */
class Fake {
  now = 0;
  broken = false;
  readonly serve = new FakeServe({
    head: { CPU: 0 },
    groups: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, minNodes: 0, maxNodes: 8 }],
    now: () => this.now,
    exists: () => this.broken,
  });

  after(ms: number): Observation {
    this.now += ms;
    return parseObservation(JSON.stringify(this.serve.details()), "the fake");
  }

  get observed() {
    const [found] = deploymentsOf(this.after(0));
    assert.ok(found);
    return found.observed;
  }
}

describe("the fake of Ray Serve", () => {
  let fake: Fake;
  beforeEach(() => {
    fake = new Fake();
  });

  it("runs what it was sent, rounded as Ray rounds, on nodes that come for it and leave when idle", () => {
    fake.serve.put(service(50));
    assert.equal(fake.after(10).applications.default?.status, "DEPLOYING");
    const expectation = (count: number, capacity: number) => ({
      capacity,
      applications: ["default"],
      replicas: { default: { Versions: { atLeast: count, atMost: count } } },
    });
    assert.deepEqual(verdict(fake.after(500), expectation(4, 50)), { state: "healthy" });
    assert.equal(fake.serve.workers().length, 4);
    fake.serve.put(service(30));
    assert.equal(verdict(fake.after(0), expectation(2, 30)).state, "waiting");
    assert.deepEqual(verdict(fake.after(300), expectation(2, 30)), { state: "healthy" });
    assert.equal(fake.serve.workers().length, 4);
    fake.after(1000);
    assert.equal(fake.serve.workers().length, 2);
    fake.serve.put(service(0));
    assert.equal(fake.after(1000).applications.default?.status, "RUNNING");
    assert.equal(fake.observed.running, 0);
    fake.serve.delete();
    assert.deepEqual(fake.after(1000), { targetCapacity: null, applications: {} });
  });

  it("gives a request to a replica that runs, and to none while none does", () => {
    fake.serve.put(service(100));
    fake.after(200);
    assert.equal(fake.serve.request("/"), undefined);
    fake.after(2000);
    const taken = fake.serve.request("/");
    assert.ok(taken !== undefined && taken !== "none");
    assert.equal(taken.environment.VERSION, "v1");
    fake.serve.put(service(0));
    fake.after(2000);
    assert.equal(fake.observed.byState.STOPPING, 1);
    taken.done();
    fake.after(200);
    assert.deepEqual(fake.observed.byState, {});
  });

  it("calls a deployment failed whose constructor raises, and tries again only when it is told something else", () => {
    fake.serve.put(service(100, { FAIL: "no weights" }));
    const failed = fake.after(20_000);
    assert.equal(failed.applications.default?.status, "DEPLOY_FAILED");
    assert.match(fake.observed.message, /failed to start 2\d times in a row.*RuntimeError: no weights$/s);
    fake.serve.put(service(100, { FAIL: "no weights" }));
    assert.equal(fake.after(1000).applications.default?.status, "DEPLOY_FAILED");
    fake.serve.put(service(100));
    assert.equal(fake.after(5000).applications.default?.status, "RUNNING");
  });

  it("is unhealthy while a health check raises, and recovers", () => {
    fake.serve.put(service(100, { BREAK: "/broken" }));
    assert.equal(fake.after(3000).applications.default?.status, "RUNNING");
    fake.broken = true;
    assert.equal(fake.after(1000).applications.default?.status, "UNHEALTHY");
    assert.equal(fake.observed.running, 0);
    fake.broken = false;
    assert.equal(fake.after(3000).applications.default?.status, "RUNNING");
  });

  it("tells which resources a replica waits for that fits no node", () => {
    const large = service(100);
    large.applications[0]!.deployments![0]!.num_replicas = 9;
    fake.serve.put(large);
    fake.after(5000);
    assert.equal(fake.observed.running, 8);
    assert.match(fake.observed.message, /has 1 replicas .*required for each replica: {"CPU":0,"GPU":1}/s);
  });

  it("replaces replicas of another code version a fifth at a time", () => {
    fake.serve.put(service(null));
    fake.after(3000);
    const before = fake.observed.runningIds;
    fake.serve.put(service(null, { VERSION: "v2" }));
    for (let step = 0; step < 40; step++) {
      fake.after(50);
      assert.ok(fake.observed.running >= 6, `${fake.observed.running}`);
    }
    fake.after(5000);
    assert.equal(fake.observed.running, 7);
    assert.deepEqual(
      fake.observed.runningIds.filter((id) => before.includes(id)),
      [],
    );
  });
});
