import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import fc from "fast-check";
import type { DeploymentObservation, Observation } from "../../../provider/serve/observation";
import { assertReadyFor, problemsFor, replicasNeeded, slotsOf } from "../../../provider/serve/readiness";
import { countToSend, rayReplicas } from "../../../rollout/replicas";

const deployment = (full: number, running: number): DeploymentObservation => ({
  status: "HEALTHY",
  message: "",
  trigger: "UNSPECIFIED",
  targetReplicas: running,
  running,
  byState: { RUNNING: running },
  full,
  maxOngoingRequests: 5,
  gracefulShutdownTimeout: 20,
  replicaIds: [],
  runningIds: [],
  nodeIds: [],
});

const observation = (
  full: number,
  running: number,
  targetCapacity: number | null,
  status = "RUNNING",
): Observation => ({
  targetCapacity,
  applications: { a: { status, message: "", deployments: { Model: deployment(full, running) } } },
});

describe("Readiness for traffic", () => {
  it("needs the traffic's share of every deployment, rounded up", () => {
    assert.deepEqual(problemsFor(observation(4, 2, 50), 50), []);
    assert.deepEqual(problemsFor(observation(4, 1, 50), 50), ["deployment a/Model runs 1 replicas and needs 2"]);
    assert.deepEqual(problemsFor(observation(4, 1, 50), 25), []);
    assert.deepEqual(problemsFor(observation(4, 1, 50), 26), ["deployment a/Model runs 1 replicas and needs 2"]);
  });

  it("needs the applications RUNNING, some application, and capacity for it", () => {
    assert.deepEqual(problemsFor(observation(4, 4, null, "UNHEALTHY"), 10), ["application a is UNHEALTHY"]);
    assert.deepEqual(problemsFor({ targetCapacity: null, applications: {} }, 10), ["no application runs on it"]);
    assert.deepEqual(problemsFor(observation(4, 4, 40), 41), ["its capacity is 40%"]);
  });

  it("is given at every traffic up to the capacity once Ray runs what it was sent", () => {
    const counts = fc.tuple(
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 100 }),
    );
    fc.assert(
      fc.property(counts, ([declared, a, b]) => {
        const [traffic, capacity] = [Math.min(a, b), Math.max(a, b)];
        const sent = countToSend(declared, capacity);
        const needed = replicasNeeded(deployment(sent, 0), capacity, traffic);
        assert.ok(needed <= rayReplicas(sent, capacity));
        assert.ok(needed >= Math.ceil((declared * traffic) / 100));
      }),
    );
  });

  it("says how many requests all replicas work on at full capacity, however many run now", () => {
    assert.equal(slotsOf(observation(4, 2, 50)), 20);
    const scaling = { ...deployment(1, 1), autoscaling: { min: 1, max: 6 }, maxOngoingRequests: 10 };
    const application = { status: "RUNNING", message: "", deployments: { A: deployment(4, 4), B: scaling } };
    assert.equal(slotsOf({ targetCapacity: null, applications: { a: application } }), 20 + 60);
  });

  describe("of a dashboard that answers", () => {
    let server: Server;
    let address: { dashboardUrl: string };
    let failures = 0;
    before(async () => {
      server = createServer((_, response) => {
        if (failures-- > 0) return response.writeHead(503).end("try again");
        return response.end(JSON.stringify({ target_capacity: null, applications: {} }));
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      address = { dashboardUrl: `http://127.0.0.1:${(server.address() as { port: number }).port}` };
    });
    after(() => server.close());

    it("is asked again when it fails for a moment", async () => {
      failures = 2;
      await assert.rejects(assertReadyFor(address, 10), /no application runs on it/);
    });

    it("is given up when it fails for longer, with its own words", async function () {
      this.timeout(5_000);
      failures = 99;
      await assert.rejects(assertReadyFor(address, 10), /cannot be reached: it answered 503: try again/);
      failures = 0;
    });
  });
});
