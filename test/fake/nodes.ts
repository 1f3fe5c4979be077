/** Resources by name, as Ray counts them: CPU, GPU and custom ones. */
export type Resources = Record<string, number>;

export interface FakeGroup {
  name: string;
  resources: Resources;
  minNodes: number;
  maxNodes: number;
}

export interface FakeNode {
  id: string;
  /** Undefined: the head. */
  group: string | undefined;
  state: "STARTING" | "ALIVE" | "DEAD";
}

/** Where the replicas of a {@link FakeServe} find their place. */
export interface Nodes {
  /** Takes the resources on a node that runs; undefined when none has them free. */
  place(wanted: Resources): string | undefined;
  release(id: string, wanted: Resources, now: number): void;
  /** Whether a node that had replicas is gone with them. */
  isLost(id: string): boolean;
  /** One round of the autoscaler; `waiting` are the resources of replicas without a node. */
  step(now: number, waiting: readonly Resources[]): void;
  /** All of them, the head first, ended ones too. */
  list(): FakeNode[];
  /** What all nodes that run have together. */
  total(): Resources;
}

interface Node extends FakeNode {
  total: Resources;
  free: Resources;
  /** From when on it is ALIVE. */
  readyAt: number;
  idleSince: number;
}

export interface NodeTimes {
  /** ms from the decision to add a node until it takes replicas. */
  nodeStartMs: number;
  /** ms after which a worker without replicas ends. */
  idleMs: number;
}

/**
 * A fake of a cluster's nodes and of Ray's autoscaler: workers come for replicas that find no place, within the groups'
 * bounds, and leave when they were idle. It does not prove how Ray's scheduler packs replicas, that a node can be
 * started at all, or anything of what happens on one that is lost.
 */
export class FakeNodes implements Nodes {
  private readonly nodes: Node[];
  private made = 0;

  constructor(
    head: Resources,
    private readonly groups: readonly FakeGroup[],
    private readonly times: NodeTimes,
    now: number,
  ) {
    this.nodes = [this.node(undefined, head, now, now)];
  }

  place(wanted: Resources): string | undefined {
    const node = this.nodes.find(({ state, free }) => state === "ALIVE" && fits(wanted, free));
    if (node === undefined) return undefined;
    for (const [name, amount] of Object.entries(wanted)) node.free[name] = (node.free[name] ?? 0) - amount;
    return node.id;
  }

  release(id: string, wanted: Resources, now: number): void {
    const node = this.nodes.find((each) => each.id === id);
    if (node === undefined) return;
    for (const [name, amount] of Object.entries(wanted)) node.free[name] = (node.free[name] ?? 0) + amount;
    node.idleSince = now;
  }

  /** No node ends that has a replica. */
  isLost(): boolean {
    return false;
  }

  step(now: number, waiting: readonly Resources[]): void {
    for (const node of this.nodes) {
      if (node.state === "STARTING" && now >= node.readyAt) Object.assign(node, { state: "ALIVE", idleSince: now });
    }
    const places = this.nodes.filter(({ state }) => state !== "DEAD").map(({ free }) => ({ ...free }));
    for (const wanted of waiting) {
      const place = places.find((free) => fits(wanted, free)) ?? this.launch(wanted, now);
      if (place === undefined) continue;
      if (!places.includes(place)) places.push(place);
      for (const [name, amount] of Object.entries(wanted)) place[name] = (place[name] ?? 0) - amount;
    }
    for (const group of this.groups) {
      while (this.count(group) < group.minNodes) this.nodes.push(this.node(group.name, group.resources, now));
      for (const node of this.nodes) {
        const idle = node.group === group.name && node.state === "ALIVE" && isIdle(node);
        if (!idle || now - node.idleSince < this.times.idleMs || this.count(group) <= group.minNodes) continue;
        node.state = "DEAD";
      }
    }
  }

  list(): FakeNode[] {
    return this.nodes.map(({ id, group, state }) => ({ id, group, state }));
  }

  total(): Resources {
    const sum: Resources = {};
    for (const { total, state } of this.nodes) {
      if (state !== "ALIVE") continue;
      for (const [name, amount] of Object.entries(total)) sum[name] = (sum[name] ?? 0) + amount;
    }
    return sum;
  }

  private launch(wanted: Resources, now: number): Resources | undefined {
    const group = this.groups.find((each) => fits(wanted, each.resources) && this.count(each) < each.maxNodes);
    if (group === undefined) return undefined;
    const node = this.node(group.name, group.resources, now);
    this.nodes.push(node);
    return { ...node.free };
  }

  private count({ name }: FakeGroup): number {
    return this.nodes.filter(({ group, state }) => group === name && state !== "DEAD").length;
  }

  private node(group: string | undefined, total: Resources, now: number, readyAt = now + this.times.nodeStartMs): Node {
    const id = (this.made++).toString(16).padStart(56, group === undefined ? "f" : "0");
    const state = readyAt <= now ? "ALIVE" : "STARTING";
    return { id, group, state, total, free: { ...total }, readyAt, idleSince: now };
  }
}

export const fits = (wanted: Resources, free: Resources) =>
  Object.entries(wanted).every(([name, amount]) => (free[name] ?? 0) >= amount);

const isIdle = ({ free, total }: Node) => Object.entries(total).every(([name, amount]) => (free[name] ?? 0) >= amount);
