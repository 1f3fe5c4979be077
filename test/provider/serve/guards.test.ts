import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { checkSurge, checkTraffic } from "../../../provider/serve/guards";

/**
 * A fake of a dashboard: it answers as Ray does about one deployment's replicas and about nodes, which here come and go
 * when the test says so. It does not prove that Ray ends idle nodes; the end-to-end tests do.
 */
class FakeDashboard {
  workers: string[] = [];
  replicasOn: string[] = [];
  capacity: number | null = 50;
  /** Of the deployment, in Ray's words. */
  status = "HEALTHY";
  private readonly server: Server = createServer((request, response) => {
    const body = request.url?.startsWith("/api/v0/nodes") ? this.nodes() : this.applications();
    response.setHeader("content-type", "application/json").end(JSON.stringify(body));
  });

  async start(): Promise<void> {
    await new Promise<void>((started) => this.server.listen(0, "127.0.0.1", started));
  }

  async stop(): Promise<void> {
    await new Promise((stopped) => this.server.close(stopped));
  }

  get address() {
    return { dashboardUrl: `http://127.0.0.1:${(this.server.address() as AddressInfo).port}` };
  }

  private nodes(): object {
    const node = (id: string, head: boolean) => ({ node_id: id, is_head_node: head, state: "ALIVE", labels: {} });
    return { data: { result: { result: [node("head", true), ...this.workers.map((id) => node(id, false))] } } };
  }

  private applications(): object {
    const replicas = this.replicasOn.map((id, index) => ({ replica_id: `r${index}`, state: "RUNNING", node_id: id }));
    const deployment = {
      status: this.status,
      message: "a replica's health check failed",
      target_num_replicas: replicas.length,
      replicas,
      deployment_config: { num_replicas: 4 },
    };
    const status = this.status === "UNHEALTHY" ? this.status : "RUNNING";
    const applications = { default: { status, deployments: { Model: deployment } } };
    return { target_capacity: this.capacity, applications };
  }
}

const none = () => 0;

describe("the surge guard", () => {
  let peer: FakeDashboard;
  let said: string[];
  const waiting = (signal = new AbortController().signal) => ({
    signal,
    progress: (message: string) => void said.push(message),
  });
  const guard = (maxTotalCapacity = 150, address = peer.address) => ({
    peer: address,
    maxTotalCapacity,
    idleTimeoutSeconds: 0.1,
  });

  beforeEach(async () => {
    said = [];
    peer = new FakeDashboard();
    await peer.start();
  });
  afterEach(() => peer.stop());

  it("lets a cluster grow when the other has made room", async () => {
    [peer.workers, peer.replicasOn] = [
      ["a", "b"],
      ["a", "b"],
    ];
    await checkSurge(guard(), 100, none, waiting());
    assert.deepEqual(said, []);
  });

  it("refuses growth above the surge, and says how it is done", async () => {
    await assert.rejects(
      checkSurge(guard(125), 100, none, waiting()),
      /100% here and 50% on the other cluster .* 150%, more than the 125%.*`rayshift deploy`/s,
    );
  });

  it("counts a cluster without target_capacity as whole", async () => {
    peer.capacity = null;
    await assert.rejects(checkSurge(guard(), 100, none, waiting()), /100% on the other/);
  });

  it("waits until the other's idle nodes have really ended", async () => {
    [peer.workers, peer.replicasOn] = [["a", "b", "c"], ["a"]];
    let grown = false;
    const growth = checkSurge(guard(), 100, none, waiting()).then(() => {
      grown = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(grown, false);
    assert.match(said[0]!, /waiting until 2 idle worker nodes/);
    peer.workers = ["a"];
    await growth;
    assert.equal(grown, true);
  });

  it("waits for a worker's process that outlives Ray's word for it, also behind a dead head", async () => {
    let processes = 3;
    const count = () => processes;
    [peer.workers, peer.replicasOn] = [["a"], ["a"]];
    for (const address of [peer.address, { dashboardUrl: "http://127.0.0.1:9" }]) {
      processes = 3;
      const began = Date.now();
      setTimeout(() => (processes = address === peer.address ? 1 : 0), 300);
      await checkSurge(guard(150, address), 100, count, waiting());
      assert.ok(Date.now() - began >= 300);
    }
    assert.match(said[0]!, /waiting until 2 idle worker nodes/);
  });

  it("soon stops waiting for one that is unhealthy, also where that comes and goes, and says so in Ray's words", async () => {
    [peer.workers, peer.replicasOn, peer.status] = [["a", "b", "c"], ["a"], "UNHEALTHY"];
    const growth = checkSurge(guard(), 100, none, waiting(), { well: 60_000, unhealthy: 500 });
    setTimeout(() => (peer.status = "HEALTHY"), 300);
    await assert.rejects(growth, /2 worker nodes of the other cluster .* do not end.*health check failed/s);
  });

  it("stops waiting when the update is cancelled", async () => {
    peer.workers = ["a"];
    const controller = new AbortController();
    const growth = checkSurge(guard(), 100, none, waiting(controller.signal));
    setTimeout(() => controller.abort(new Error("the update was cancelled")), 200);
    await assert.rejects(growth, (error: Error) => error.name === "AbortError");
  });

  it("takes a cluster that has ended for no capacity", async () => {
    const nobody = { dashboardUrl: "http://127.0.0.1:9" };
    await checkSurge(guard(110, nobody), 100, none, waiting());
  });
});

describe("the traffic guard", () => {
  const guard = { adminSocket: "/nowhere", version: "v1", drainTimeoutSeconds: 0.5 };
  const waiting = { signal: new AbortController().signal, progress: () => {} };
  const sends = (weight: number, sessions: () => number) => async () => ({
    v1: { weight, sessions: sessions() },
    v2: { weight: 100 - weight, sessions: 0 },
  });

  it("refuses less capacity than the load balancer sends traffic", async () => {
    await assert.rejects(
      checkTraffic(
        guard,
        49,
        sends(50, () => 0),
        waiting,
      ),
      /sends 50% of the traffic to version v1, more than the 49% capacity/,
    );
  });

  it("lets a cluster shrink to its traffic with requests under way: those that stay behind are served", async () => {
    await checkTraffic(
      guard,
      50,
      sends(50, () => 7),
      waiting,
    );
  });

  it("counts what a version really gets, when the other's weight was never applied or is taken out", async () => {
    for (const other of [{ v2: { weight: 0, sessions: 0 } }, {}]) {
      const read = async () => ({ v1: { weight: 50, sessions: 0 }, ...other });
      await assert.rejects(checkTraffic(guard, 50, read, waiting), /sends 100% of the traffic to version v1/);
    }
  });

  it("waits for a version that is down for a moment, whose requests go to the one that is to shrink", async () => {
    let looks = 0;
    const said: string[] = [];
    const read = async () => ({
      v1: { weight: 50, status: "up", sessions: 0 },
      v2: { weight: 50, status: ++looks < 3 ? "down" : "up", sessions: 0 },
    });
    await checkTraffic(guard, 50, read, { ...waiting, progress: (message) => void said.push(message) });
    assert.equal(looks, 3);
    assert.match(said[0]!, /until the load balancer can send requests to v2 again/);
  });

  it("refuses when the other stays down", async function () {
    this.timeout(15_000);
    const read = async () => ({
      v1: { weight: 50, status: "up", sessions: 0 },
      v2: { weight: 50, status: "down", sessions: 0 },
    });
    await assert.rejects(
      checkTraffic(guard, 50, read, waiting),
      /sends 100% of the traffic to version v1 \(v2 does not pass its health check\)/,
    );
  });

  it("waits for the requests under way before the last replica goes", async () => {
    let left = 3;
    await checkTraffic(
      guard,
      0,
      sends(0, () => left--),
      waiting,
    );
    assert.ok(left < 0);
  });

  it("waits no longer than the drain timeout", async () => {
    const began = Date.now();
    await checkTraffic(
      guard,
      0,
      sends(0, () => 1),
      waiting,
    );
    assert.ok(Date.now() - began >= 500);
  });
});
