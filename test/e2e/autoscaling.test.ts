import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { readRecord } from "../../provider/local/clusterDirectory";
import { clusterFiles } from "../../provider/local/rayHead";
import { getApplications } from "../../provider/serve/dashboard";
import { deploymentsOf } from "../../provider/serve/observation";
import { ask, type Endpoint } from "../../rollout/demo/load";
import { deploy } from "../../rollout/index";
import { TestProject } from "./project";

const versions = ["v1", "v2"];
/** At 50 %: 1, 2 and 3, rounded up. */
const counts = { min_replicas: 1, initial_replicas: 3, max_replicas: 5 };
/** More requests at a time than `max_replicas`, at one request a replica. */
const clients = 8;

/** Keeps as many requests under way as there are clients, half a second each. */
class Demand {
  readonly failures: string[] = [];
  private wanted = true;
  private readonly asking: Promise<void>[];

  constructor({ url, token }: Endpoint) {
    this.asking = Array.from({ length: clients }, async () => {
      while (this.wanted) {
        const ending = await ask({ url: `${url}/?seconds=0.5`, token }, "");
        if ("error" in ending) this.failures.push(ending.error);
        else if (ending.status !== 200) this.failures.push(`${ending.status} ${ending.body}`);
      }
    });
  }

  async stop(): Promise<void> {
    this.wanted = false;
    await Promise.all(this.asking);
  }
}

describe("a service that scales by itself", function () {
  this.timeout(240_000);
  this.bail(true);
  let project: TestProject;
  let endpoint: Endpoint;
  let demand: Demand;

  before(() => {
    project = new TestProject();
  });
  after(async () => {
    await demand?.stop();
    await project.remove(versions);
  });

  /** Several replicas share a node, so that few nodes have to start. */
  function service(version: string): Record<string, unknown> {
    const scaling = { target_ongoing_requests: 1, upscale_delay_s: 1, downscale_delay_s: 2 };
    const quick = { metrics_interval_s: 0.5, look_back_period_s: 2 };
    const deployment = {
      name: "Versions",
      ray_actor_options: { num_cpus: 0, num_gpus: 0.2 },
      autoscaling_config: { ...counts, ...scaling, ...quick },
    };
    return { ...project.service(version), applications: [{ import_path: "versions:app", deployments: [deployment] }] };
  }

  async function seen(version: string) {
    const directory = project.directoryOf(`cluster-${version}`);
    const observation = await getApplications({
      dashboardUrl: `http://127.0.0.1:${readRecord(directory)!.ports.dashboard}`,
      dashboardTokenFile: clusterFiles(directory).token,
    });
    const [deployment] = deploymentsOf(observation);
    return { capacity: observation.targetCapacity, running: deployment!.observed.running };
  }

  /** Until as many replicas run; what else was seen on the way is in the error. */
  async function runs(version: string, replicas: number, seconds = 40): Promise<void> {
    const found: number[] = [];
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(250)) {
      const { running } = await seen(version);
      if (running === replicas) return;
      if (found.at(-1) !== running) found.push(running);
    }
    assert.fail(`${version} ran ${found.join(", then ")} replicas, not ${replicas}`);
  }

  /** The smallest and the largest number of replicas of a version over some time. */
  async function range(version: string, seconds: number): Promise<[least: number, most: number]> {
    const found: number[] = [];
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(250)) {
      found.push((await seen(version)).running);
    }
    return [Math.min(...found), Math.max(...found)];
  }

  it("follows its load from max_replicas to min_replicas before a rollout", async () => {
    const { url } = await deploy({ folder: project.folder, service: service("v1") });
    const token = await project.pulumi("stack", "output", "queryAuthToken", "--show-secrets");
    endpoint = { url, token: token.stdout.trim() };
    demand = new Demand(endpoint);
    await runs("v1", counts.max_replicas);
    assert.equal((await seen("v1")).capacity, null);
  });

  it("keeps within its percentages in a rollout, rounded up, whatever load there is", async () => {
    const held = await deploy({
      folder: project.folder,
      service: service("v2"),
      canaryPercent: 50,
      maxSurgePercent: 50,
    });
    assert.equal(held.outcome, "held");
    assert.equal((await seen("v1")).capacity, 50);
    assert.equal((await seen("v2")).capacity, 50);
    await Promise.all(versions.map((version) => runs(version, 3)));
    for (const [, most] of await Promise.all(versions.map((version) => range(version, 3)))) assert.equal(most, 3);
  });

  it("has initial_replicas as the new cluster's floor until the rollout ends, and ignores it on the old one", async () => {
    await demand.stop();
    await Promise.all([runs("v1", 1), runs("v2", 2)]);
    assert.deepEqual(await Promise.all(versions.map((version) => range(version, 3))), [
      [1, 1],
      [2, 2],
    ]);
  });

  it("scales freely again once the rollout is complete, and no request has failed", async () => {
    const { failures } = demand;
    demand = new Demand(endpoint);
    const completed = await deploy({ folder: project.folder, service: service("v2"), canaryPercent: 100 });
    assert.equal(completed.outcome, "completed");
    assert.equal((await seen("v2")).capacity, null);
    await runs("v2", counts.max_replicas);
    await demand.stop();
    await runs("v2", counts.min_replicas);
    assert.deepEqual([...failures, ...demand.failures], []);
  });
});
