import { capacityInUse, deploymentsOf, type Observation } from "../../provider/serve/observation";

/** One version's cluster at one instant. */
export interface Seen {
  version: string;
  observation: Observation | undefined;
  /** Whether the cluster's head runs. */
  runs: boolean;
}

/** Where a service is looked at from the outside: each target has its own. */
export interface Sources {
  /** Those of all versions that may be about. */
  clusters(): Promise<Seen[]>;
  /** Nodes beside the heads that take up room now, by cluster; only those of these versions need be there. */
  workers(versions: readonly string[]): Promise<Record<string, number>>;
  /** Percent of the requests by version, as the data plane divides them; undefined where it does not answer. */
  weights(): Promise<Record<string, number> | undefined>;
}

export interface Limits {
  /** Replicas of each deployment at 100%. */
  full: number;
  /** Percent; both capacities together may reach 100 + surge. */
  surge: number;
  /** Worker nodes of both clusters together. */
  workers: number;
}

/** Each look costs both clusters processor time that their requests want too. */
const usualMs = 200;

/**
 * Watches a service from the outside, whatever the target, and notes every instant at which an invariant of
 * docs/design.md is broken. Values are read one after the other, so an instant only counts when what was read first
 * is still the same at the end.
 */
export class InvariantWatch {
  readonly violations: string[] = [];
  samples = 0;
  /** Of the samples, those at which the weights could be checked too. */
  weighed = 0;
  peakCapacity = 0;
  peakWorkers = 0;
  private readonly healthy = new Set<string>();
  private readonly running = new Set<string>();
  /** Those of the last instant that counted. */
  private weights: Record<string, number> = {};
  private lastWeights: Record<string, number> | undefined;
  private lastClusters: Seen[] = [];
  private stopped = false;
  private readonly looking: Promise<void>;
  private readonly began = Date.now();

  constructor(
    private readonly sources: Sources,
    private readonly limits: Limits,
    /** Between two looks. */
    private readonly intervalMs = usualMs,
  ) {
    this.looking = this.watch();
  }

  async stop(): Promise<this> {
    this.stopped = true;
    await this.looking;
    return this;
  }

  get samplesPerSecond(): number {
    return this.samples / ((Date.now() - this.began) / 1000);
  }

  private async watch(): Promise<void> {
    while (!this.stopped) {
      const started = Date.now();
      await this.look();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, this.intervalMs - (Date.now() - started))));
    }
  }

  /** Clusters and weights in turn: each reading of clusters lies between two of weights, and the other way round. */
  private async look(): Promise<void> {
    const clusters = await this.sources.clusters();
    const weights = await this.sources.weights();
    const workers = await this.sources.workers(clusters.filter(({ runs }) => runs).map(({ version }) => version));
    this.samples += 1;
    this.checkCapacity(this.lastClusters, clusters);
    this.checkWorkers(workers);
    if (weights !== undefined && JSON.stringify(weights) === JSON.stringify(this.lastWeights)) {
      this.weighed += 1;
      this.checkWeights(weights, clusters);
      this.checkEnds(weights, clusters);
      this.weights = weights;
    }
    [this.lastClusters, this.lastWeights] = [clusters, weights];
  }

  /** I2: the first cluster is read again at the end, so that a shift of capacity between two reads is not a sum. */
  private checkCapacity(first: Seen[], second: Seen[]): void {
    const capacity = (seen: Seen[]) => seen.map(({ observation }) => (observation ? capacityInUse(observation) : 0));
    const lowest = capacity(first).map((value, index) => Math.min(value, capacity(second)[index] ?? 0));
    const total = lowest.reduce((sum, value) => sum + value, 0);
    this.peakCapacity = Math.max(this.peakCapacity, total);
    if (total > 100 + this.limits.surge) this.note(`I2: capacities of ${total}%`);
  }

  /** I2. */
  private checkWorkers(workers: Record<string, number>): void {
    const total = Object.values(workers).reduce((sum, count) => sum + count, 0);
    this.peakWorkers = Math.max(this.peakWorkers, total);
    if (total > this.limits.workers) this.note(`I2: ${total} workers: ${JSON.stringify(workers)}`);
  }

  /** I1, I3, I5. */
  private checkWeights(weights: Record<string, number>, clusters: Seen[]): void {
    const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
    if (sum !== 100) this.note(`I5: weights sum to ${sum}`);
    for (const { version, observation } of clusters) {
      const weight = weights[version] ?? 0;
      const deployments = observation === undefined ? [] : deploymentsOf(observation);
      const running = Math.min(...deployments.map(({ observed }) => observed.running));
      if (deployments.length > 0 && running >= 1) this.healthy.add(version);
      if (weight === 0) continue;
      if (!this.healthy.has(version)) this.note(`I3: ${version} was never healthy and gets ${weight}%`);
      const needed = Math.ceil((this.limits.full * weight) / 100);
      if (observation !== undefined && running < needed) {
        this.note(`I1: ${version} gets ${weight}% with ${running} replicas, ${needed} are needed`);
      }
    }
  }

  /** I4: a cluster that ends had no traffic before. */
  private checkEnds(weights: Record<string, number>, clusters: Seen[]): void {
    for (const { version, runs } of clusters) {
      if (runs) this.running.add(version);
      else if (this.running.delete(version) && (this.weights[version] ?? 0) > 0 && (weights[version] ?? 0) > 0) {
        this.note(`I4: ${version} ended with ${weights[version]}% of the traffic`);
      }
    }
  }

  private note(violation: string): void {
    this.violations.push(`${((Date.now() - this.began) / 1000).toFixed(1)} s: ${violation}`);
  }
}
