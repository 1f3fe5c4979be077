import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type OperationContext, PartialFailure } from "../../../provider/resource";
import {
  type ApplicationsInputs,
  type ApplicationsState,
  applicationsType,
} from "../../../provider/serve/applications";
import type { ApplicationConfig } from "../../../provider/serve/config";
import { type DashboardEndpoint, getApplications, putApplications } from "../../../provider/serve/dashboard";
import { freePort, type TestRay, testRay } from "./rayForTests";

describe("Serve applications on a cluster", function () {
  this.timeout(150_000);
  let ray: TestRay;
  let marker: string;
  let weight = 0;
  const progress: string[] = [];
  const weights = async () => ({ v1: { weight, sessions: 0 }, v2: { weight: 100 - weight, sessions: 0 } });
  const type = applicationsType(weights, () => 0);
  const context = (signal = new AbortController().signal): OperationContext => ({
    urn: "urn",
    name: "service-v1",
    signal,
    progress: (message) => progress.push(message),
    warn: (message) => progress.push(message),
  });
  const inputs = (
    application: ApplicationConfig,
    rest: Partial<ApplicationsInputs & DashboardEndpoint> = {},
  ): ApplicationsInputs => {
    const { dashboardUrl, dashboardTokenFile, config } = ray;
    const base = { dashboardUrl, dashboardTokenFile, canary: false, timeoutSeconds: 90 };
    return { ...base, config: config(application), ...rest };
  };
  const model = (): ApplicationConfig => ({ name: "a", import_path: "sample:model" });
  const fragile = (): ApplicationConfig => ({
    name: "a",
    import_path: "sample:fragile",
    runtime_env: { env_vars: { MARKER: marker } },
  });
  const observe = async (deployment: string) => {
    const observation = await getApplications(ray);
    const observed = observation.applications.a?.deployments[deployment];
    assert.ok(observed, `${deployment} is observed`);
    return { ...observed, targetCapacity: observation.targetCapacity };
  };
  const create = async (wanted: ApplicationsInputs) => (await type.create(wanted, context())).state;
  const update = (state: ApplicationsState, wanted: ApplicationsInputs, signal?: AbortSignal) =>
    type.update("service-v1", state, wanted, context(signal));
  const remove = (from = inputs(model())) =>
    type.delete("service-v1", { ...from, declared: {}, replicas: {} }, context());
  const failing = async (operation: Promise<unknown>): Promise<PartialFailure> => {
    const error = await operation.then(
      () => assert.fail("it succeeded"),
      (error) => error,
    );
    assert.ok(error instanceof PartialFailure, `a PartialFailure, not ${error}`);
    return error;
  };

  before(async () => {
    ray = await testRay();
    marker = join(ray.directory, "marker");
  });

  describe("whose count only the code declares", () => {
    let state: ApplicationsState;

    it("start on a canary with the capacity's share, rounded up", async () => {
      state = await create(inputs(model(), { capacity: 40, canary: true }));
      const observed = await observe("Model");
      assert.equal(observed.targetCapacity, 40);
      assert.deepEqual([observed.running, observed.replicaIds.length], [2, 2]);
      assert.deepEqual(state.declared, { a: { Model: { replicas: 3 } } });
      assert.deepEqual(state.replicas, { "a/Model": 2 });
    });

    it("keep their replicas when the same is sent again", async () => {
      const { replicaIds } = await observe("Model");
      state = await update(state, inputs(model(), { capacity: 40, canary: true }));
      assert.deepEqual((await observe("Model")).replicaIds, replicaIds);
    });

    it("grow to all they declare, and keep the replicas they have", async () => {
      const { replicaIds } = await observe("Model");
      progress.length = 0;
      state = await update(state, inputs(model()));
      const observed = await observe("Model");
      assert.deepEqual([observed.targetCapacity, observed.running, observed.full], [null, 3, 3]);
      assert.deepEqual(
        replicaIds.filter((id) => !observed.replicaIds.includes(id)),
        [],
      );
      assert.ok(
        progress.some((line) => line.startsWith("2 of 3 replicas of Model run; 1 starting")),
        progress.join("\n"),
      );
    });

    it("have shrunk only when surplus replicas are gone", async () => {
      state = await update(state, inputs(model(), { capacity: 40 }));
      assert.equal((await observe("Model")).replicaIds.length, 2);
      state = await update(state, inputs(model(), { capacity: 0 }));
      assert.equal((await observe("Model")).replicaIds.length, 0);
      assert.deepEqual(state.declared, { a: { Model: { replicas: 3 } } });
    });
  });

  describe("on a cluster that is dead", () => {
    it("are at capacity 0 without a word to it, and at no other", async () => {
      const nowhere = { dashboardUrl: `http://127.0.0.1:${await freePort()}` };
      const state = { ...inputs(model(), nowhere), declared: { a: { Model: { replicas: 3 } } }, replicas: {} };
      const ended = await update(state, inputs(model(), { ...nowhere, capacity: 0 }));
      assert.deepEqual([ended.capacity, ended.declared], [0, state.declared]);
      await assert.rejects(update(state, inputs(model(), { ...nowhere, capacity: 50 })), /nothing listens there/);
      await assert.rejects(create(inputs(model(), { ...nowhere, capacity: 0 })), /nothing listens there/);
    });
  });

  describe("that scale by themselves, as only the code says", () => {
    const scaling = (): ApplicationConfig => ({ name: "a", import_path: "sample:scaling" });
    let state: ApplicationsState;
    let kept: string[];

    it("have initial_replicas as their floor on a canary", async () => {
      state = await create(inputs(scaling(), { capacity: 50, canary: true }));
      const observed = await observe("Scaling");
      assert.deepEqual([observed.running, observed.autoscaling], [2, { min: 4, max: 6 }]);
      kept = observed.replicaIds;
    });

    it("keep every replica when the canary becomes the primary", async () => {
      state = await update(state, inputs(scaling(), { canary: true }));
      const full = (await observe("Scaling")).replicaIds;
      assert.equal(full.length, 4);
      assert.deepEqual(
        kept.filter((id) => !full.includes(id)),
        [],
      );
      assert.ok(type.diff(state, inputs(scaling())).changes);
      state = await update(state, inputs(scaling()));
      const observed = await observe("Scaling");
      assert.deepEqual(observed.autoscaling, { min: 1, max: 6 });
      assert.deepEqual(observed.replicaIds, full);
    });

    it("are held to the capacity's share of their maximum on the way down, rounded up", async () => {
      state = await update(state, inputs(scaling(), { capacity: 40 }));
      const observed = await observe("Scaling");
      assert.equal(observed.replicaIds.length, 3);
      assert.equal(state.replicas["a/Scaling"], 1);
    });

    it("start with initial_replicas on a primary that comes up from nothing", async () => {
      state = await update(state, inputs(scaling(), { capacity: 0 }));
      state = await update(state, inputs(scaling()));
      assert.equal((await observe("Scaling")).running, 4);
      assert.equal(state.replicas["a/Scaling"], 1);
      await update(state, inputs(scaling(), { capacity: 0 }));
    });
  });

  describe("that answer in streams", () => {
    it("let the replicas that a smaller capacity ends finish what they answer, for longer than Ray's own 20 s", async () => {
      const slow = (): ApplicationConfig => ({ name: "a", import_path: "sample:slow" });
      let state = await create(inputs(slow(), { drainTimeoutSeconds: 60 }));
      const { replicaIds, gracefulShutdownTimeout } = await observe("Slow");
      assert.equal(gracefulShutdownTimeout, 60);
      const { port } = state.config.http_options as { port: number };
      const headers = { authorization: `Bearer ${ray.queryToken}` };
      const streams = Array.from({ length: 4 }, async () =>
        (await fetch(`http://127.0.0.1:${port}/?seconds=26`, { headers })).text(),
      );
      await sleep(1000);
      state = await update(state, inputs(slow(), { capacity: 50, drainTimeoutSeconds: 60 }));
      const left = await observe("Slow");
      assert.equal(left.replicaIds.length, 1);
      assert.ok(replicaIds.includes(left.replicaIds[0] as string), "a replica was replaced");
      for (const stream of await Promise.all(streams)) assert.equal(stream.split("\n").length, 27);
      await update(state, inputs(slow(), { capacity: 0 }));
    });
  });

  describe("guarded against what an update must not do", () => {
    let state: ApplicationsState;
    before(async () => {
      state = await create(inputs(model(), { capacity: 40 }));
    });
    const refused = async (wanted: ApplicationsInputs, because: RegExp) => {
      const { replicaIds } = await observe("Model");
      await assert.rejects(update(state, wanted), (error: Error) => {
        assert.ok(!(error instanceof PartialFailure));
        assert.match(error.message, because);
        return true;
      });
      const observed = await observe("Model");
      assert.deepEqual([observed.targetCapacity, observed.replicaIds], [40, replicaIds]);
    };
    const withPeer = (dashboardUrl: string, maxTotalCapacity: number): ApplicationsInputs => {
      const peer = { dashboardUrl, dashboardTokenFile: ray.dashboardTokenFile };
      return inputs(model(), { capacity: 70, surge: { peer, maxTotalCapacity, idleTimeoutSeconds: 1 } });
    };

    it("do not grow past the surge beside a peer", async () => {
      await refused(
        withPeer(ray.dashboardUrl, 109),
        /70% here and 40% on the other cluster.*are 110%, more than the 109%/,
      );
    });

    it("do not grow when the peer's capacity cannot be known", async () => {
      const server = createServer((_, response) => response.writeHead(500).end("GCS is down"));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as { port: number };
      try {
        await refused(
          withPeer(`http://127.0.0.1:${port}`, 200),
          /capacity of the other cluster is not known.*GCS is down/,
        );
      } finally {
        server.close();
      }
    });

    it("grow when the peer has ended, or leaves them room", async () => {
      state = await update(state, withPeer(`http://127.0.0.1:${await freePort()}`, 100));
      assert.equal((await observe("Model")).running, 3);
      state = await update(state, inputs(model(), { capacity: 40 }));
      state = await update(state, withPeer(ray.dashboardUrl, 110));
      assert.equal(state.capacity, 70);
    });

    it("do not shrink below the traffic they get", async () => {
      const traffic = { adminSocket: "/run/admin.sock", version: "v1", drainTimeoutSeconds: 5 };
      weight = 35;
      state = await update(state, inputs(model(), { capacity: 40, traffic }));
      await refused(
        inputs(model(), { capacity: 30, traffic }),
        /sends 35% of the traffic to version v1.*the 30% capacity/,
      );
      state = await update(state, inputs(model(), { capacity: 35, traffic }));
      assert.equal(state.capacity, 35);
    });

    it("are a change when the capacity is another, and none when only guards and patience are", () => {
      const same = {
        capacity: 35,
        timeoutSeconds: 7,
        traffic: { adminSocket: "/x", version: "v9", drainTimeoutSeconds: 5 },
      };
      assert.equal(type.diff(state, withPeer(ray.dashboardUrl, 100)).changes, true);
      assert.equal(type.diff(state, inputs(model(), same)).changes, false);
      assert.equal(type.diff(state, inputs(model(), { ...same, canary: true })).changes, false);
    });

    it("read back with the capacity that somebody else set, and without what somebody took away", async () => {
      const b = { name: "b", import_path: "sample:model", route_prefix: "/b" };
      const both = { ...state, config: ray.config(model(), b) };
      await putApplications(ray, { ...ray.config(model()), target_capacity: 20 });
      const live = await type.read("service-v1", both, context());
      assert.equal(live?.capacity, 20);
      assert.deepEqual(live?.config, ray.config(model()));
    });

    it("read back as gone once they are deleted, which may happen twice", async () => {
      await remove();
      assert.deepEqual((await getApplications(ray)).applications, {});
      assert.equal(await type.read("service-v1", state, context()), undefined);
      await remove();
    });
  });

  describe("that fail", () => {
    let state: ApplicationsState;
    after(() => remove());

    it("at their import fail with the exception, and stay in the stack", async () => {
      const wanted = inputs({ name: "a", import_path: "unimportable:app" }, { capacity: 50 });
      const failure = await failing(type.create(wanted, context()));
      assert.match(
        failure.message,
        /service-v1 at .*application a is DEPLOY_FAILED: ModuleNotFoundError: No module named/,
      );
      assert.doesNotMatch(failure.message, /Traceback/);
      assert.equal(failure.id, "service-v1");
      state = failure.state as ApplicationsState;
    });

    it("at their import go to zero all the same", async () => {
      state = await update(state, { ...state, capacity: 0 });
      assert.deepEqual(state.replicas, {});
    });

    it("in a constructor fail with its exception, long before the timeout", async () => {
      writeFileSync(marker, "");
      const failure = await failing(update(state, inputs(fragile(), { capacity: 50 })));
      assert.match(failure.message, /Fragile is UNHEALTHY.*: RuntimeError: no weights at s3:\/\/models\/fragile$/);
      state = failure.state as ApplicationsState;
      assert.deepEqual([state.capacity, state.declared], [50, { a: { Fragile: { replicas: 2 } } }]);
    });

    it("in a constructor go to zero all the same", async () => {
      state = await update(state, inputs(fragile(), { capacity: 0 }));
      assert.equal((await observe("Fragile")).replicaIds.length, 0);
    });

    it("come up with the same config once the cause is gone, though Ray has given up on them", async () => {
      state = (await failing(update(state, inputs(fragile(), { capacity: 50 })))).state as ApplicationsState;
      rmSync(marker);
      state = await update(state, inputs(fragile(), { capacity: 50 }));
      assert.equal((await observe("Fragile")).running, 1);
    });

    it("in the replicas that are added fail, though Ray goes on trying", async () => {
      writeFileSync(marker, "");
      const failure = await failing(update(state, inputs(fragile())));
      assert.match(failure.message, /replicas of Fragile failed to start: RuntimeError: no weights/);
      assert.equal((await observe("Fragile")).running, 1);
      state = failure.state as ApplicationsState;
    });

    it("to fit on the cluster fail at the timeout, with the resources they wait for", async () => {
      const greedy = { name: "a", import_path: "sample:greedy" };
      const failure = await failing(update(state, inputs(greedy, { timeoutSeconds: 10 })));
      assert.match(failure.message, /not converged within 10 s: 0 of 2 replicas of Greedy run; 2 starting/);
      assert.match(failure.message, /Resources required for each replica: \{"CPU": 5\}/);
      state = failure.state as ApplicationsState;
    });

    it("to be valid change nothing and carry Ray's own text", async () => {
      const invalid = { ...model(), deployments: [{ name: "Model", num_replicas: -1 }] };
      await assert.rejects(update(state, inputs(invalid)), (error: Error) => {
        assert.ok(!(error instanceof PartialFailure));
        assert.match(error.message, /rejected the config \(400\).*num_replicas/s);
        return true;
      });
    });

    it("to end before they are cancelled keep in the stack what was sent", async () => {
      const abort = new AbortController();
      const cancelled = update(state, inputs(model(), { capacity: 40 }), abort.signal);
      setTimeout(() => abort.abort(new Error("the update was cancelled")), 1500);
      assert.match((await failing(cancelled)).message, /the update was cancelled/);
    });
  });

  it("on a cluster that has ended are gone, and need no deleting", async () => {
    const dashboardUrl = `http://127.0.0.1:${await freePort()}`;
    const state = { ...inputs(model(), { dashboardUrl }), declared: {}, replicas: {} };
    assert.equal(await type.read("service-v1", state, context()), undefined);
    await remove(state);
    await assert.rejects(create(state), /service-v1 at .*connection refused/);
  });

  it("are out of reach with another token, which the error does not show", async () => {
    const dashboardTokenFile = join(ray.directory, "other");
    writeFileSync(dashboardTokenFile, "not-the-token", { mode: 0o600 });
    await assert.rejects(create(inputs(model(), { dashboardTokenFile })), (error: Error) => {
      assert.match(error.message, /refused the token.*other is not the cluster's/);
      assert.doesNotMatch(error.message, /not-the-token/);
      return true;
    });
  });

  it("report all problems of their inputs at once", () => {
    const wrong = { capacity: 12.5, timeoutSeconds: 0, dashboardUrl: "nowhere", config: { applications: [] } };
    const properties = type.check(wrong).map(({ property }) => property);
    assert.deepEqual(properties, ["capacity", "timeoutSeconds", "dashboardUrl", "config"]);
    assert.deepEqual(type.check(inputs(model(), { capacity: 0 })), []);
  });
});
