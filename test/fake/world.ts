import { effect as published } from "../../provider/effects";
import type { ClusterInputs, ClusterState } from "../../provider/local/cluster";
import { withLock } from "../../provider/local/lock";
import type { OperationContext, ResourceType } from "../../provider/resource";
import type { ServeDeployment } from "../../provider/serve/config";
import { FakeBalancer } from "./balancer";
import type { FakeClock } from "./clock";
import { alive } from "./process";
import { type Code, FakeServe, type FakeTimes } from "./serve";

/** One Ray cluster of the world. */
export interface FakeCluster {
  directory: string;
  name: string;
  inputs: ClusterInputs;
  port: number;
  serve: FakeServe;
  /** Whether its head runs. */
  runs: boolean;
  /** Whether its head has come to answer. */
  answers: boolean;
  /** What was PUT last. */
  config: ServeDeployment | undefined;
  /** What somebody was told of its applications, and when, in ms; the last few times. */
  told: { at: number; details: object }[];
}

/** What happens in the world: an effect of rayshift is about to take place, or has taken place. */
export type Instant = (what: string, when: "before" | "after") => void;

/** Looks at the world around an effect; gives what the effect gives. */
export type Around = <T>(what: string, act: () => T) => T;

export interface WorldOptions {
  clock: FakeClock;
  /** An integer from 0 to `most`. */
  chance: (most: number) => number;
  code: Code;
  times?: Partial<FakeTimes>;
}

const firstPort = 30_000;
const startMs = 800;
const latencyMs = 4;
const remembered = 10;

/** Everything that rayshift works on: clusters by their folder, load balancers by theirs, and files that break versions. */
export class FakeWorld {
  readonly clusters = new Map<string, FakeCluster>();
  /** Folders of all clusters that there ever were. */
  readonly directories = new Set<string>();
  readonly balancers = new Map<string, FakeBalancer>();
  /** Files that are there as far as the versions see: one that a version's BREAK names makes it unhealthy. */
  readonly broken = new Set<string>();
  /** Everything that took place, for people. */
  readonly trace: string[] = [];
  onInstant: Instant = () => {};
  around: Around = (_what, act) => act();
  private ports = firstPort;

  constructor(private readonly options: WorldOptions) {}

  get clock(): FakeClock {
    return this.options.clock;
  }

  chance(most: number): number {
    return this.options.chance(most);
  }

  note(text: string): void {
    this.trace.push(`${((this.clock.now - Date.UTC(2026, 0, 31, 12)) / 1000).toFixed(2)} ${text}`);
  }

  /** Something that changes the world: everybody who is killed at it does not come back. */
  async effect<T>(what: string, act: () => T): Promise<T> {
    await this.clock.sleep(this.chance(latencyMs));
    this.onInstant(what, "before");
    await alive();
    this.note(what);
    const result = this.around(what, act);
    this.onInstant(what, "after");
    await alive();
    return result;
  }

  /** An answer of a cluster's head, or undefined where nothing listens. */
  async request(url: URL, method: string, body: string): Promise<{ status: number; text: string } | undefined> {
    await this.clock.sleep(this.chance(latencyMs));
    const port = Number(url.port);
    const cluster = [...this.clusters.values()].find((each) => each.port === port || each.port + 1 === port);
    if (cluster === undefined || !cluster.runs || !cluster.answers) return undefined;
    const { serve } = cluster;
    if (url.pathname === "/-/healthz") return serve.serving ? { status: 200, text: "success" } : undefined;
    const json = (document: object) => ({ status: 200, text: JSON.stringify(document) });
    if (url.pathname === "/api/v0/nodes") return json(serve.nodesDocument());
    if (method === "GET") {
      const details = serve.details();
      cluster.told = [{ at: this.clock.now, details }, ...cluster.told].slice(0, remembered);
      return json(details);
    }
    if (method === "DELETE") {
      await this.effect(`DELETE ${cluster.name}`, () => {
        cluster.config = undefined;
        serve.delete();
      });
      return { status: 200, text: "" };
    }
    const config = JSON.parse(body) as ServeDeployment;
    await this.effect(`PUT ${cluster.name} at ${config.target_capacity}`, () => {
      cluster.config = config;
      serve.put(config);
    });
    return { status: 200, text: "" };
  }

  /** The answer of a load balancer's admin socket, or undefined where nothing listens. */
  async tell(socket: string, line: string): Promise<string | undefined> {
    const balancer = this.balancers.get(socket.replace(/\/admin\.sock$/, ""));
    if (balancer === undefined) return undefined;
    if (!FakeBalancer.changes(line)) {
      await this.clock.sleep(this.chance(latencyMs));
      return balancer.answer(line);
    }
    return this.effect(`HAProxy: ${line}`, () => balancer.answer(line));
  }

  startBalancer(directory: string, config: string): void {
    const now = () => this.clock.now;
    const healthy = (address: string) => {
      const cluster = [...this.clusters.values()].find((each) => addressOf(each) === address);
      return cluster?.runs === true && cluster.answers && cluster.serve.serving;
    };
    const lastRequestMs = () => this.chance(1500);
    this.balancers.set(directory, new FakeBalancer(directory, config, { now, healthy, lastRequestMs }));
  }

  /** The cluster that a load balancer's version leads to. */
  behind(balancer: FakeBalancer, version: string): FakeCluster | undefined {
    const address = balancer.addressOf(version);
    return [...this.clusters.values()].find((each) => addressOf(each) === address);
  }

  /** The head ends, and with it everything of the cluster. */
  killHead(cluster: FakeCluster): void {
    cluster.runs = false;
  }

  /** In the place of the provider's type, which starts processes. */
  readonly clusterType: ResourceType<ClusterInputs, ClusterState> = {
    check: () => [],
    diff: (state, inputs) => {
      const replaces = (["directory", "clusterName"] as const).filter((name) => state[name] !== inputs[name]);
      return { changes: replaces.length > 0, replaces };
    },
    create: async (inputs, context) => {
      const { directory, clusterName } = inputs;
      this.directories.add(directory);
      const owner = `the start of Ray cluster ${clusterName}`;
      const cluster = await withLock(directory, owner, () => this.takeCluster(inputs, context), context.signal);
      return { id: directory, state: stateOf(cluster) };
    },
    read: async (_id, { directory }) => {
      await this.clock.sleep(this.chance(latencyMs));
      const cluster = this.clusters.get(directory);
      return cluster?.runs ? stateOf(cluster) : undefined;
    },
    update: async (_id, state, inputs) => ({ ...state, ...inputs }),
    delete: async (_id, { directory, clusterName }, context) => {
      const owner = `the end of Ray cluster ${clusterName}`;
      await withLock(directory, owner, () => this.removeCluster(directory), context.signal);
    },
  };

  private async takeCluster(inputs: ClusterInputs, context: OperationContext): Promise<FakeCluster> {
    const { directory, clusterName: name } = inputs;
    const found = this.clusters.get(directory);
    if (found?.runs && found.answers) return found;
    context.signal.throwIfAborted();
    const start = () =>
      this.effect(`start ${name}`, () => {
        const resourcesOf = ({ cpus, gpus }: { cpus: number; gpus: number }) => ({ CPU: cpus, GPU: gpus });
        const { code, times } = this.options;
        const serve = new FakeServe({
          head: resourcesOf(inputs.head),
          groups: inputs.workers.map((group) => ({ ...group, resources: resourcesOf(group) })),
          code,
          times: { ...times, idleMs: inputs.idleTimeoutSeconds * 1000 },
          now: () => this.clock.now,
          exists: (file) => this.broken.has(file),
        });
        const port = found?.port ?? this.ports;
        if (port === this.ports) this.ports += 2;
        const made = { directory, name, inputs, port, serve, runs: true, answers: false, config: undefined, told: [] };
        this.clusters.set(directory, made);
        return made;
      });
    const cluster = await published("start a head", directory, start);
    try {
      await this.clock.sleep(startMs, undefined, { signal: context.signal });
      cluster.answers = true;
      return cluster;
    } catch (error) {
      await this.removeCluster(directory);
      throw error;
    }
  }

  private async removeCluster(directory: string): Promise<void> {
    const cluster = this.clusters.get(directory);
    if (cluster === undefined) return;
    const end = () => this.effect(`end ${cluster.name}`, () => this.clusters.delete(directory));
    await published("end a cluster's processes", directory, end);
  }
}

/** Where Serve's proxy of a cluster listens. */
export const addressOf = ({ port }: FakeCluster) => `127.0.0.1:${port + 1}`;

function stateOf(cluster: FakeCluster): ClusterState {
  return {
    ...cluster.inputs,
    dashboardUrl: `http://127.0.0.1:${cluster.port}`,
    dashboardTokenFile: `${cluster.directory}/token`,
    serveAddress: addressOf(cluster),
    grpcPort: cluster.port,
    headPid: cluster.port,
  };
}
