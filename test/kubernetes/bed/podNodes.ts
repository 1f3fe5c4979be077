import { createHash } from "node:crypto";
import { type FakeNode, fits, type Nodes, type Resources } from "../../fake/nodes";
import type { KubernetesObject } from "./api";

/** One worker group of a RayCluster, as its autoscaler sees it. */
export interface PodGroup {
  name: string;
  resources: Resources;
  /** Now, as the object has it. */
  replicas: number;
  minReplicas: number;
  maxReplicas: number;
}

/** What the autoscaler wants of a group. */
export interface GroupWish {
  group: string;
  replicas: number;
  /** Names of pods. */
  workersToDelete: string[];
}

interface Node {
  id: string;
  group: string | undefined;
  pod: string;
  state: FakeNode["state"];
  total: Resources;
  free: Resources;
  idleSince: number;
  /** Named to KubeRay for deletion. */
  leaving: boolean;
}

/**
 * The nodes of a Ray cluster whose pods are objects of a real API server, and a fake of the autoscaler in its head pod:
 * a pod that runs is a node that lives. Like Ray's it wants workers for replicas that find no place, within the groups'
 * bounds, and names idle ones for deletion; KubeRay makes and ends the pods. A worker through whose proxy a request goes
 * is not idle, as with Ray, where the proxy stays until its requests have ended.
 *
 * It does not prove that Ray's autoscaler decides so or in what time, that a raylet starts in a pod, how Ray's scheduler
 * packs replicas, or what becomes of workers whose head is replaced. Serve's proxy stays on a worker without replicas for
 * 30 s at least in Ray, and here for 2 s.
 */
export class PodNodes implements Nodes {
  private readonly head: Node;
  private workers: Node[] = [];
  private groups: readonly PodGroup[] = [];
  private wishes: GroupWish[] = [];

  /** @param idleMs after which a worker without replicas and requests is not wanted any more */
  constructor(
    headPod: KubernetesObject,
    head: Resources,
    private readonly idleMs: number,
    now: number,
  ) {
    this.head = { ...nodeOf(headPod, undefined, head, now), state: "ALIVE" };
  }

  /**
   * Takes in how groups and worker pods are now.
   *
   * @param passing uids of pods through whose proxies requests go
   */
  observe(
    groups: readonly PodGroup[],
    pods: readonly KubernetesObject[],
    now: number,
    passing: ReadonlySet<string> = new Set(),
  ): void {
    this.groups = groups;
    for (const node of this.workers) {
      if (!pods.some(({ metadata }) => idOf(metadata.uid) === node.id)) node.state = "DEAD";
    }
    for (const pod of pods) {
      const group = groups.find(({ name }) => name === pod.metadata.labels?.["ray.io/group"]);
      if (group === undefined) continue;
      let node = this.workers.find(({ id }) => id === idOf(pod.metadata.uid));
      if (node === undefined) {
        node = nodeOf(pod, group.name, group.resources, now);
        this.workers.push(node);
      }
      const state = stateOf(pod);
      if ((node.state === "STARTING" && state === "ALIVE") || passing.has(String(pod.metadata.uid)))
        node.idleSince = now;
      if (node.state !== "DEAD") node.state = state;
    }
  }

  place(wanted: Resources): string | undefined {
    const node = this.living().find(({ free, leaving }) => !leaving && fits(wanted, free));
    if (node === undefined) return undefined;
    take(node.free, wanted);
    return node.id;
  }

  release(id: string, wanted: Resources, now: number): void {
    const node = [this.head, ...this.workers].find((each) => each.id === id);
    if (node === undefined) return;
    for (const [name, amount] of Object.entries(wanted)) node.free[name] = (node.free[name] ?? 0) + amount;
    node.idleSince = now;
  }

  isLost(id: string): boolean {
    return this.workers.some((node) => node.id === id && node.state === "DEAD");
  }

  step(now: number, waiting: readonly Resources[]): void {
    const coming = this.groups.map((group) => ({ group, launched: 0, present: this.present(group.name) }));
    const places = [this.head, ...this.workers]
      .filter(({ state, leaving }) => state !== "DEAD" && !leaving)
      .map(({ free }) => ({ ...free }));
    for (const each of coming) {
      // Pods that KubeRay has been told of and has not made yet.
      const asked = Math.max(0, Math.min(each.group.replicas, each.group.maxReplicas) - each.present.length);
      for (let count = 0; count < asked; count++, each.launched++) places.push({ ...each.group.resources });
    }
    for (const wanted of waiting) {
      let place = places.find((free) => fits(wanted, free));
      if (place === undefined) {
        const each = coming.find(
          ({ group, present, launched }) =>
            fits(wanted, group.resources) && present.length + launched < group.maxReplicas,
        );
        if (each === undefined) continue;
        each.launched += 1;
        place = { ...each.group.resources };
        places.push(place);
      }
      take(place, wanted);
    }
    this.wishes = coming.map(({ group, launched, present }) => {
      let staying = present.filter(({ leaving }) => !leaving).length + launched;
      for (const node of present) {
        const idle = node.state === "ALIVE" && isIdle(node) && now - node.idleSince >= this.idleMs;
        if (!idle || node.leaving || staying <= group.minReplicas) continue;
        node.leaving = true;
        staying -= 1;
      }
      const workersToDelete = present.filter(({ leaving }) => leaving).map(({ pod }) => pod);
      return { group: group.name, replicas: Math.max(group.minReplicas, staying), workersToDelete };
    });
  }

  /** What the groups have to become. */
  wanted(): readonly GroupWish[] {
    return this.wishes;
  }

  /** Whether Serve's proxy of a worker's pod takes requests: it drains where no replica is. */
  takesRequests({ metadata }: KubernetesObject): boolean {
    const node = this.workers.find(({ id }) => id === idOf(metadata.uid));
    return node?.state === "ALIVE" && !isIdle(node);
  }

  list(): FakeNode[] {
    return [this.head, ...this.workers].map(({ id, group, state }) => ({ id, group, state }));
  }

  total(): Resources {
    const sum: Resources = {};
    for (const { total } of this.living()) {
      for (const [name, amount] of Object.entries(total)) sum[name] = (sum[name] ?? 0) + amount;
    }
    return sum;
  }

  private living(): Node[] {
    return [this.head, ...this.workers].filter(({ state }) => state === "ALIVE");
  }

  private present(group: string): Node[] {
    return this.workers.filter((node) => node.group === group && node.state !== "DEAD");
  }
}

function nodeOf(pod: KubernetesObject, group: string | undefined, total: Resources, now: number): Node {
  const { name, uid } = pod.metadata;
  return {
    id: idOf(uid),
    group,
    pod: name,
    state: "STARTING",
    total,
    free: { ...total },
    idleSince: now,
    leaving: false,
  };
}

/** A pod that is to end is none of the cluster's any more: its raylet says goodbye at once. */
function stateOf({ metadata, status }: KubernetesObject): FakeNode["state"] {
  if (metadata.deletionTimestamp !== undefined || ["Failed", "Succeeded"].includes(status?.phase)) return "DEAD";
  return status?.phase === "Running" && status.podIP !== undefined ? "ALIVE" : "STARTING";
}

/** As long as Ray's ids. */
const idOf = (uid: unknown) => createHash("sha256").update(String(uid)).digest("hex").slice(0, 56);

const isIdle = ({ free, total }: Node) => Object.entries(total).every(([name, amount]) => (free[name] ?? 0) >= amount);

function take(free: Resources, wanted: Resources): void {
  for (const [name, amount] of Object.entries(wanted)) free[name] = (free[name] ?? 0) - amount;
}
