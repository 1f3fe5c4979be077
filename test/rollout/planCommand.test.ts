import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { stringify } from "yaml";
import { deploy } from "../../rollout/deploy";
import { exitCodeOf } from "../../rollout/errors";
import { type PlanOptions, plan, type RolloutPlan } from "../../rollout/planCommand";
import { openSession } from "../../rollout/session";
import { readWanted } from "../../rollout/wanted";
import { FakePulumi, noStack } from "./fakePulumi";

/** The runtime environment keeps the program from looking for the code on this host. */
const code = { import_path: "app:app", runtime_env: { env_vars: { WHERE: "elsewhere" } } };

function serviceOf(version: string, replicas = 4, deployment: object = { ray_actor_options: { num_gpus: 1 } }) {
  return {
    name: "words",
    version_name: version,
    env_vars: { VERSION: version },
    applications: [{ ...code, deployments: [{ name: "D", num_replicas: replicas, ...deployment }] }],
  };
}

/**
 * What Ray answers comes from a server of the test, with as much of Ray's answer as is read, and there is no load
 * balancer: its part is then taken from the record.
 */
describe("plan", function () {
  this.timeout(60_000);
  const { PATH: path, RAYSHIFT_HOME: home } = process.env;
  let cli: FakePulumi;
  let ray: Server;
  /** Of every cluster, in percent; null for everything. */
  let capacity: number | null;
  beforeEach(async () => {
    capacity = null;
    ray = createServer(({ url }, response) => {
      if (url !== "/api/serve/applications/") return void response.writeHead(404).end();
      const replicas = [1, 2, 3, 4].map((id) => ({ replica_id: String(id), state: "RUNNING" }));
      const D = { status: "HEALTHY", target_num_replicas: 4, replicas, deployment_config: { num_replicas: 4 } };
      const answer = {
        target_capacity: capacity,
        applications: { default: { status: "RUNNING", deployments: { D } } },
      };
      response.end(JSON.stringify(answer));
    });
    await new Promise<void>((resolve) => ray.listen(0, "127.0.0.1", resolve));
    delete process.env.RAYSHIFT_HOME;
  });
  afterEach(() => {
    process.env.PATH = path;
    if (home !== undefined) process.env.RAYSHIFT_HOME = home;
    ray.close();
    cli.remove();
  });

  async function placed(version: string, capacity: number | null, traffic: number, changes: object = {}) {
    const service = { ...serviceOf(version), ...changes };
    const { version: described } = await readWanted(await openSession({ folder: cli.folder }), { service });
    return { ...described, cluster: version, capacity, traffic };
  }

  /** With the primary v1, and with the canary v2 held at 50% where asked for. */
  async function standing(canary = false, capacities: [number | null, number] = [null, 100]): Promise<void> {
    cli = new FakePulumi({});
    const address = { dashboardUrl: `http://127.0.0.1:${(ray.address() as AddressInfo).port}`, serveAddress: "" };
    const clusters = { v1: address, ...(canary ? { v2: address } : {}) };
    const rollout = {
      phase: canary ? "ROLLING_OUT" : "RUNNING",
      primary: await placed("v1", capacities[0], canary ? 50 : 100),
      ...(canary ? { canary: await placed("v2", capacities[1], 50) } : {}),
      digest: "d",
    };
    const outputs = { url: "http://127.0.0.1:1", rollout, targets: { clusters, loadBalancer: {} } };
    const answers = { "stack output": [{ stdout: JSON.stringify(outputs) }], "stack export": [{ stdout: "{}" }] };
    use(new FakePulumi(answers), cli);
  }

  function use(next: FakePulumi, before?: FakePulumi): void {
    before?.remove();
    cli = next;
    process.env.PATH = cli.environment.PATH;
    writeFileSync(join(cli.folder, "Pulumi.dev.yaml"), stringify({ config: { "rayshift:target": "local" } }));
  }

  /** Also that the plan only read. */
  async function planned(options: PlanOptions): Promise<RolloutPlan> {
    const file = join(cli.folder, "Pulumi.dev.yaml");
    const before = readFileSync(file, "utf8");
    const result = await plan({ folder: cli.folder, ...options });
    assert.deepEqual(cli.commands(), ["stack output"]);
    assert.equal(readFileSync(file, "utf8"), before);
    return result;
  }

  const replicas = (count: number, most = count) => ({ least: count, most });

  describe("of a first deploy", () => {
    beforeEach(() => use(new FakePulumi({ "stack output": [noStack] })));

    it("has no waypoints", async () => {
      const { kind, version, waypoints, peakCapacity, peakReplicas } = await planned({ service: serviceOf("v1") });
      assert.deepEqual([kind, version, waypoints, peakCapacity], ["firstDeploy", "v1", [], 100]);
      assert.deepEqual(peakReplicas, replicas(4));
    });

    it("says the least and the most where it scales by itself", async () => {
      const scaling = {
        num_replicas: null,
        autoscaling_config: { min_replicas: 2, initial_replicas: 3, max_replicas: 9 },
      };
      const { peakReplicas } = await planned({ service: serviceOf("v1", 0, scaling) });
      assert.deepEqual(peakReplicas, replicas(2, 9));
    });

    it("says no replicas where only the code tells how many", async () => {
      const { peakReplicas, peakGpus } = await planned({ service: { ...serviceOf("v1"), applications: [code] } });
      assert.deepEqual([peakReplicas, peakGpus], [undefined, undefined]);
    });

    it("says which flags have no effect", async () => {
      const { notices } = await planned({ service: serviceOf("v1"), maxSurgePercent: 50 });
      assert.match(notices.join(), /first deploy: there is nothing to roll out from, maxSurgePercent ignored/);
    });
  });

  it("of the version that runs is that nothing is to do", async () => {
    await standing();
    assert.equal((await planned({ service: serviceOf("v1") })).kind, "unchanged");
  });

  it("of another version has the waypoints within the surge, with their peaks and ways back", async () => {
    await standing();
    const result = await planned({ service: serviceOf("v2", 8), maxSurgePercent: 50 });
    assert.deepEqual(result.from, { primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0 });
    assert.deepEqual(
      result.waypoints.map(({ waypoint, peakReplicas, rollbackSpeed }) => [
        Object.values(waypoint),
        peakReplicas,
        rollbackSpeed,
      ]),
      [
        // 4 of the old and half of 8; then half of 4 and 8.
        [[50, 50, 50], replicas(8), "capacity-following"],
        [[0, 100, 100], replicas(10), "capacity-following"],
      ],
    );
    const { kind, peakCapacity, peakReplicas, peakGpus, completes } = result;
    assert.deepEqual([kind, peakCapacity, completes], ["rollout", 150, true]);
    assert.deepEqual([peakReplicas, peakGpus], [replicas(10), replicas(10)]);
  });

  it("of a hold ends there", async () => {
    await standing();
    const { waypoints, completes } = await planned({ service: serviceOf("v2"), canaryPercent: 10 });
    assert.deepEqual(
      waypoints.map(({ waypoint }) => waypoint.canaryTraffic),
      [0, 5, 10],
    );
    assert.equal(completes, false);
  });

  it("says no GPUs where the service does not, and counts what runs where the service names no count", async () => {
    await standing();
    const { peakGpus, peakReplicas } = await planned({
      service: { ...serviceOf("v2"), applications: [code] },
    });
    assert.deepEqual([peakGpus, peakReplicas], [undefined, replicas(8)]);
  });

  it("of a third version, during a rollout, has the way back and then the rollout", async () => {
    await standing(true);
    const { kind, peakCapacity, back, waypoints, peakReplicas } = await planned({ service: serviceOf("v3", 6) });
    assert.deepEqual([kind, peakCapacity], ["rollbackFirst", 200]);
    assert.deepEqual(
      back.map(({ waypoint }) => Object.values(waypoint)),
      [[100, 0, 0]],
    );
    assert.deepEqual(
      waypoints.map(({ waypoint }) => waypoint.canaryTraffic),
      [0, 5, 10, 20, 30, 50, 75, 100],
    );
    assert.deepEqual(peakReplicas, replicas(10));
  });

  it("of the primary's own version, during a rollout, has the way back alone", async () => {
    capacity = 50;
    await standing(true, [50, 50]);
    const { kind, back, waypoints, completes } = await planned({ service: serviceOf("v1"), maxSurgePercent: 25 });
    assert.deepEqual([kind, waypoints, completes], ["rollbackFirst", [], false]);
    assert.deepEqual(
      back.map(({ waypoint, peakReplicas }) => [Object.values(waypoint), peakReplicas]),
      [
        [[75, 25, 25], replicas(5)],
        [[100, 0, 0], replicas(5)],
      ],
    );
  });

  it("goes on from a held split", async () => {
    await standing(true);
    const { kind, from, waypoints } = await planned({ service: serviceOf("v2") });
    assert.deepEqual([kind, from.canaryTraffic], ["rollout", 50]);
    assert.deepEqual(
      waypoints.map(({ waypoint }) => waypoint.canaryTraffic),
      [75, 100],
    );
  });

  describe("of an update in place", () => {
    const inPlace = true;
    /** As v1, which it takes the place of: what differs is in its applications. */
    const changed = (deployment: object, rest: object = {}) => ({
      ...serviceOf("v2", 4, { ray_actor_options: { num_gpus: 1 }, ...deployment }),
      env_vars: { VERSION: "v1" },
      ...rest,
    });

    it("starts no second cluster, and says what becomes of the replicas", async () => {
      await standing();
      const light = await planned({ service: changed({ num_replicas: 6 }), inPlace });
      assert.deepEqual([light.kind, light.waypoints, light.peakCapacity], ["inPlace", [], 100]);
      assert.deepEqual(light.peakReplicas, replicas(6));
      assert.deepEqual(light.changes?.[0], {
        application: "default",
        deployment: "D",
        kind: "lightweight",
        reason: "num_replicas changes",
      });
    });

    it("to the version that runs is that nothing is to do", async () => {
      await standing();
      const { kind, changes } = await planned({ service: serviceOf("v1"), inPlace });
      assert.deepEqual([kind, changes], ["unchanged", undefined]);
    });

    const refusals: Array<[string, boolean, () => PlanOptions]> = [
      ["another image", false, () => ({ service: changed({}, { image_uri: "other" }) })],
      [
        "other nodes",
        false,
        () => ({ service: changed({}, { compute_config: { worker_nodes: [{ resources: { CPU: 1 } }] } }) }),
      ],
      ["other environment variables", false, () => ({ service: serviceOf("v2") })],
      ["a rollout under way", true, () => ({ service: changed({}, { version_name: "v3" }) })],
      ["a canary percent", false, () => ({ service: changed({}), canaryPercent: 10 })],
      ["a surge", false, () => ({ service: changed({}), maxSurgePercent: 50 })],
      ["another service's name", false, () => ({ service: changed({}, { name: "other" }) })],
    ];
    for (const [what, rollingOut, options] of refusals) {
      it(`is refused for ${what}, as by deploy, with the same reason`, async () => {
        await standing(rollingOut);
        const refusal = async (run: Promise<unknown>) =>
          run.then(
            () => assert.fail("it was not refused"),
            (error: Error) => {
              assert.equal(exitCodeOf(error), 2, String(error.stack));
              return error.message;
            },
          );
        const planRefusal = await refusal(planned({ ...options(), inPlace }));
        assert.equal(planRefusal, await refusal(deploy({ folder: cli.folder, ...options(), inPlace })));
        assert.match(planRefusal, /[Nn]othing was changed/);
        assert.ok(!cli.commands().includes("up"));
      });
    }
  });
});
