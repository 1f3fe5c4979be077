import assert from "node:assert/strict";
import type { KubernetesObject } from "./api";
import { type PodGroup, PodNodes } from "./podNodes";
import { groupsOf, headResources, idleMs } from "./rayPods";

const IDLE_MS = 1000;
const gpu = { CPU: 1, GPU: 1 };

const pod = (name: string, phase = "Running", deletionTimestamp?: string): KubernetesObject => ({
  metadata: {
    name,
    uid: `uid of ${name}`,
    labels: { "ray.io/group": "gpu" },
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
  },
  status: phase === "Running" ? { phase, podIP: "10.0.0.1" } : { phase },
});

const group = (change: Partial<PodGroup> = {}): PodGroup => ({
  name: "gpu",
  resources: { ...gpu },
  replicas: 0,
  minReplicas: 0,
  maxReplicas: 3,
  ...change,
});

describe("Kubernetes test bed: nodes of a Ray cluster in pods", () => {
  let nodes: PodNodes;
  beforeEach(() => {
    nodes = new PodNodes(pod("head"), { CPU: 0, GPU: 0 }, IDLE_MS, 0);
  });
  const wish = (groups: PodGroup[], pods: KubernetesObject[], now: number, waiting = 0) => {
    nodes.observe(groups, pods, now);
    nodes.step(
      now,
      Array.from({ length: waiting }, () => gpu),
    );
    return nodes.wanted()[0];
  };

  it("wants a worker for each replica that finds no place, and no more than the group may have", () => {
    assert.deepEqual(wish([group()], [], 0, 2), { group: "gpu", replicas: 2, workersToDelete: [] });
    assert.equal(wish([group()], [], 0, 5)?.replicas, 3);
  });

  it("counts workers that KubeRay has not made yet, and pods that do not run yet", () => {
    assert.equal(wish([group({ replicas: 2 })], [], 0, 2)?.replicas, 2);
    assert.equal(wish([group({ replicas: 2 })], [pod("a", "Pending")], 0, 2)?.replicas, 2);
  });

  it("gives replicas a place on pods that run, and on no others", () => {
    wish([group({ replicas: 2 })], [pod("a"), pod("b", "Pending")], 0);
    assert.notEqual(nodes.place(gpu), undefined);
    assert.equal(nodes.place(gpu), undefined);
  });

  it("names a worker for deletion that was idle, and gives nothing to it any more", () => {
    const pods = [pod("a"), pod("b")];
    wish([group({ replicas: 2 })], pods, 0);
    const used = nodes.place(gpu);
    assert.ok(used);
    assert.deepEqual(wish([group({ replicas: 2 })], pods, IDLE_MS - 1)?.workersToDelete, []);
    assert.deepEqual(wish([group({ replicas: 2 })], pods, IDLE_MS), {
      group: "gpu",
      replicas: 1,
      workersToDelete: ["b"],
    });
    assert.equal(nodes.place(gpu), undefined);
    assert.deepEqual(wish([group({ replicas: 1 })], [pod("a")], IDLE_MS + 1)?.workersToDelete, [], "it is gone");
  });

  it("keeps a worker through which a request goes, until it was idle after that", () => {
    const groups = [group({ replicas: 1 })];
    wish(groups, [pod("a")], 0);
    nodes.observe(groups, [pod("a")], 2 * IDLE_MS, new Set(["uid of a"]));
    assert.deepEqual(wish(groups, [pod("a")], 3 * IDLE_MS - 1)?.workersToDelete, []);
    assert.deepEqual(wish(groups, [pod("a")], 3 * IDLE_MS)?.workersToDelete, ["a"]);
  });

  it("keeps what the group has at least", () => {
    const least = group({ replicas: 1, minReplicas: 1 });
    assert.deepEqual(wish([least], [pod("a")], 10 * IDLE_MS), { group: "gpu", replicas: 1, workersToDelete: [] });
  });

  it("loses a node with its pod, at the moment the pod is told to end", () => {
    wish([group({ replicas: 1 })], [pod("a")], 0);
    const node = nodes.place(gpu);
    assert.ok(node);
    assert.equal(nodes.isLost(node), false);
    wish([group({ replicas: 1 })], [pod("a", "Running", "2026-01-01T00:00:00Z")], 1);
    assert.equal(nodes.isLost(node), true);
    assert.equal(nodes.list().at(-1)?.state, "DEAD");
  });

  it("reads what a group offers as KubeRay does", () => {
    const template = (limits: object) => ({ spec: { containers: [{ resources: { limits } }] } });
    const cluster: KubernetesObject = {
      metadata: { name: "cluster" },
      spec: {
        headGroupSpec: { rayStartParams: { "num-cpus": "0" }, template: template({ cpu: 4 }) },
        workerGroupSpecs: [
          {
            groupName: "gpu",
            minReplicas: 1,
            rayStartParams: { resources: '"{\\"accelerator\\": 2}"' },
            template: template({ cpu: "1500m", "nvidia.com/gpu": "2" }),
          },
        ],
      },
    };
    assert.deepEqual(headResources(cluster), { CPU: 0, GPU: 0 });
    const [only] = groupsOf(cluster);
    assert.deepEqual(only?.resources, { CPU: 2, GPU: 2, accelerator: 2 });
    assert.deepEqual([only?.minReplicas, only?.replicas], [1, 0]);
    assert.equal(idleMs(cluster), 60_000);
  });
});
