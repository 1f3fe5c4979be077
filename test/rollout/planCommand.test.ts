import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { stringify } from "yaml";
import { type PlanOptions, plan, type RolloutPlan } from "../../rollout/planCommand";
import { openSession } from "../../rollout/session";
import { readWanted } from "../../rollout/wanted";
import { FakePulumi, noStack } from "./fakePulumi";

function serviceOf(version: string, replicas = 4, deployment: object = { ray_actor_options: { num_gpus: 1 } }) {
  return {
    name: "words",
    version_name: version,
    env_vars: { VERSION: version },
    applications: [{ import_path: "app:app", deployments: [{ name: "D", num_replicas: replicas, ...deployment }] }],
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
  beforeEach(async () => {
    ray = createServer(({ url }, response) => {
      if (url !== "/api/serve/applications/") return void response.writeHead(404).end();
      const replicas = [1, 2, 3, 4].map((id) => ({ replica_id: String(id), state: "RUNNING" }));
      const D = { status: "HEALTHY", target_num_replicas: 4, replicas, deployment_config: { num_replicas: 4 } };
      const answer = { target_capacity: null, applications: { default: { status: "RUNNING", deployments: { D } } } };
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

  async function placed(version: string, capacity: number | null, traffic: number) {
    const { version: described } = await readWanted(await openSession({ folder: cli.folder }), {
      service: serviceOf(version),
    });
    return { ...described, cluster: version, capacity, traffic };
  }

  /** With the primary v1, and with the canary v2 held at 50% where asked for. */
  async function standing(canary = false): Promise<void> {
    cli = new FakePulumi({});
    const address = { dashboardUrl: `http://127.0.0.1:${(ray.address() as AddressInfo).port}`, serveAddress: "" };
    const clusters = { v1: address, ...(canary ? { v2: address } : {}) };
    const rollout = {
      phase: canary ? "ROLLING_OUT" : "RUNNING",
      primary: await placed("v1", null, canary ? 50 : 100),
      ...(canary ? { canary: await placed("v2", 100, 50) } : {}),
      digest: "d",
    };
    const outputs = { url: "http://127.0.0.1:1", rollout, targets: { clusters, loadBalancer: {} } };
    use(new FakePulumi({ "stack output": [{ stdout: JSON.stringify(outputs) }] }), cli);
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

  it("of a first deploy has no waypoints", async () => {
    use(new FakePulumi({ "stack output": [noStack] }));
    const { kind, version, waypoints, peakCapacity, peakReplicas } = await planned({ service: serviceOf("v1") });
    assert.deepEqual([kind, version, waypoints, peakCapacity, peakReplicas], ["firstDeploy", "v1", [], 100, 4]);
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
        [[50, 50, 50], 8, "capacity-following"],
        [[0, 100, 100], 10, "capacity-following"],
      ],
    );
    const { kind, peakCapacity, peakReplicas, peakGpus, completes } = result;
    assert.deepEqual([kind, peakCapacity, peakReplicas, peakGpus, completes], ["rollout", 150, 10, 10, true]);
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
    const service = serviceOf("v2", undefined, {});
    const { peakGpus, peakReplicas } = await planned({
      service: { ...service, applications: [{ import_path: "app:app" }] },
    });
    assert.deepEqual([peakGpus, peakReplicas], [undefined, 8]);
  });

  it("of a third version, during a rollout, takes that back first", async () => {
    await standing(true);
    const { kind, peakCapacity } = await planned({ service: serviceOf("v3") });
    assert.deepEqual([kind, peakCapacity], ["rollbackFirst", 200]);
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

  it("of an update in place starts no second cluster", async () => {
    await standing();
    const { kind, waypoints, peakCapacity } = await planned({ service: serviceOf("v2"), inPlace: true });
    assert.deepEqual([kind, waypoints, peakCapacity], ["inPlace", [], 100]);
  });
});
