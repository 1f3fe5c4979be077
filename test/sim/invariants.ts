import { rayReplicas, roundedUpReplicas } from "../../rollout/replicas";
import type { FakeCluster } from "../fake/world";
import type { Simulation } from "./service";

/** What a command allows. */
export interface Limits {
  /** Percent; both capacities together may reach 100 + surge. */
  surge: number;
  /** Nothing was ever deployed completely: there is no service to protect, and leftovers of first deploys may be about. */
  first: boolean;
  /** Everything goes back at the same time: the one exception from I1 and I2. */
  atOnce: boolean;
  /** The largest surge since there was one cluster only: what is lowered on the way leaves nodes for a while. */
  largestSurge: number;
}

/** Whoever looks and then acts does so within this. */
const freshMs = 500;

interface Seen {
  name: string;
  /** The load balancer's server that leads to it. */
  version: string | undefined;
  /** Whether the stack's record has it. */
  recorded: boolean;
  runs: boolean;
  /** Whether it has come up since its head was started. */
  answers: boolean;
  /** Percent of the requests. */
  weight: number;
  /** Percent that counts against the surge. */
  capacity: number;
  /** Replicas that lack for this weight. */
  lacking: number;
  running: number;
  /** As many as somebody was told a moment ago, when those were more: what broke since then nobody can know. */
  known: number;
  requests: number;
  workers: number;
}

/**
 * The invariants of docs/design.md, looked at around every single effect. An effect breaks one when the world is worse
 * after it than before: what a fault or a person broke is not rayshift's doing.
 */
export class Invariants {
  readonly violations: string[] = [];
  effects = 0;

  constructor(
    private readonly simulation: Simulation,
    private readonly limits: () => Limits,
    /** Names of the clusters that the stack's record has. */
    private readonly recorded: () => string[],
    private readonly replicasOf: (cluster: string) => number,
    /** Whether a version fails by itself: its replicas come and go, and nodes with them. */
    private readonly isBad: (cluster: string) => boolean,
  ) {
    simulation.world.around = (what, act) => {
      this.effects += 1;
      const before = this.look();
      const weights = simulation.balancer?.weights() ?? {};
      const sumBefore = this.sum();
      const result = act();
      this.compare(what, before, this.look(), weights);
      const sum = this.sum();
      if (
        sum !== undefined &&
        sum !== 100 &&
        (sumBefore === undefined || sumBefore === 100) &&
        !/frontend/.test(what)
      ) {
        this.note("I5", what, `weights sum to ${sum}`);
      }
      return result;
    };
  }

  /** Nodes come and go by themselves, so they are looked at whenever there is an occasion. */
  checkNodes(): void {
    const { atOnce, first, largestSurge } = this.limits();
    if (atOnce || first) return;
    const seen = this.look();
    const workers = seen.reduce((total, each) => total + each.workers, 0);
    const full = seen.map(({ name }) => this.replicasOf(name));
    if (seen.some(({ name }) => this.isBad(name))) return;
    if (full.length > 1 && workers > mostWorkers(full, largestSurge)) {
      const each = seen.map(({ name, workers: own, capacity }) => `${name} ${own} at ${capacity}%`).join(", ");
      this.note(
        "I2",
        "nodes",
        `${workers} workers (${each}), ${mostWorkers(full, largestSurge)} are allowed under a surge of ${largestSurge}`,
      );
    }
  }

  private compare(what: string, before: Seen[], after: Seen[], weights: Record<string, number>): void {
    const { atOnce, first, surge, largestSurge } = this.limits();
    const had = (name: string) => before.find((each) => each.name === name && each.weight > 0);
    // A version whose cluster died and was made anew had its traffic before, and nobody to take it.
    const lost = ({ name, version, weight }: Seen): Pick<Seen, "weight" | "lacking"> => {
      const lead = before.some((each) => each.version === version && each.runs);
      const had = lead || version === undefined ? 0 : (weights[version] ?? 0);
      return { weight: had, lacking: had >= weight ? roundedUpReplicas(this.replicasOf(name), had) : 0 };
    };
    const total = (seen: Seen[]) => seen.reduce((sum, { capacity }) => sum + capacity, 0);
    // What came under a larger surge, and no record has, stays until it is ended.
    const most = 100 + (after.some(({ recorded }) => !recorded) ? largestSurge : surge);
    if (!atOnce && !first && total(after) > most && total(after) > total(before)) {
      this.note("I2", what, `capacities of ${total(after)}% under a surge of ${most - 100}%`);
    }
    for (const now of after) {
      const { name, weight, lacking } = now;
      // Somebody who changes weights by hand may do it between a look at them and the change that follows.
      const told = this.told(now);
      const then = [had(name) ?? lost(now), told].reduce((most, each) => (each.weight > most.weight ? each : most));
      if (!atOnce && now.runs && lacking > then.lacking) {
        this.note("I1", what, `${name} gets ${weight}% with ${now.running} running, ${lacking} replicas too few`);
      }
      const raised = weight > then.weight;
      const otherIsGood = after.some((other) => other.name !== name && other.runs && other.running > 0);
      if (raised && otherIsGood && now.known === 0) {
        this.note(
          "I3",
          what,
          `${name} gets ${weight}% and ${now.runs ? "none of its replicas runs" : "its head is dead"}`,
        );
      }
    }
    for (const then of before) {
      const now = after.find(({ name }) => name === then.name);
      // A dead cluster's start that is broken off ends nothing that served.
      if (!then.runs || !then.answers) continue;
      if (now === undefined && then.weight > 0) this.note("I4", what, `${then.name} ends with ${then.weight}%`);
      const cut = then.requests > 0 && then.running > 0 && (now === undefined || ends(what, then.name, now));
      if (cut) this.note("I6", what, `${then.requests} requests of ${then.name} are cut off`);
    }
    if (!first && after.filter(({ runs }) => runs).length > 2 && after.length > before.length) {
      this.note("clusters", what, after.map(({ name }) => name).join(", "));
    }
  }

  /** The weight that a version had when rayshift looked, a moment ago, and what lacks for it now. */
  private told({ name, version, known }: Seen): Pick<Seen, "weight" | "lacking"> {
    const { world, balancer } = this.simulation;
    const fresh = balancer?.told.filter(({ at }) => at >= world.clock.now - freshMs) ?? [];
    const weight = version === undefined ? 0 : Math.max(0, ...fresh.map(({ weights }) => weights[version] ?? 0));
    return { weight, lacking: Math.max(0, roundedUpReplicas(this.replicasOf(name), weight) - known) };
  }

  private look(): Seen[] {
    const { world, balancer } = this.simulation;
    const recorded = this.recorded();
    const weights = balancer?.weights() ?? {};
    return [...world.clusters.values()].map((cluster) => {
      const version = Object.keys(weights).find((each) => balancer && world.behind(balancer, each) === cluster);
      const weight = version === undefined ? 0 : (weights[version] ?? 0);
      const running = cluster.runs ? runningOf(cluster.serve.details()) : 0;
      const fresh = cluster.told.filter(({ at }) => at >= world.clock.now - freshMs);
      const known = Math.max(running, ...fresh.map(({ details }) => runningOf(details)));
      const needed = roundedUpReplicas(this.replicasOf(cluster.name), weight);
      return {
        name: cluster.name,
        version,
        recorded: recorded.includes(cluster.name),
        runs: cluster.runs,
        answers: cluster.answers,
        weight,
        capacity: !cluster.runs || cluster.config === undefined ? 0 : (cluster.config.target_capacity ?? 100),
        lacking: Math.max(0, needed - Math.min(cluster.runs ? known : 0, grantedTo(cluster))),
        running,
        known,
        requests: balancer?.requestsAt(`127.0.0.1:${cluster.port + 1}`) ?? 0,
        workers: cluster.runs ? cluster.serve.workers().length : 0,
      };
    });
  }

  private sum(): number | undefined {
    const weights = this.simulation.balancer?.weights();
    return weights && Object.values(weights).reduce((total, weight) => total + weight, 0);
  }

  private note(invariant: string, what: string, problem: string): void {
    const violation = `${invariant}: ${problem} (${what})`;
    if (this.violations.includes(violation)) return;
    this.simulation.world.note(`!!! ${violation}`);
    this.violations.push(violation);
  }
}

/** Whether an effect leaves a cluster without the replicas that its requests are on. */
function ends(what: string, name: string, { capacity, requests }: Seen): boolean {
  return (
    (what.startsWith(`PUT ${name} `) && capacity === 0) ||
    what === `DELETE ${name}` ||
    (requests === 0 && /shutdown sessions/.test(what))
  );
}

interface Details {
  applications: Record<string, { deployments: Record<string, { replicas: Array<{ state: string }> }> }>;
}

/** Of the deployment that has the fewest. */
function runningOf(details: object): number {
  const { applications = {} } = details as Partial<Details>;
  const counts = Object.values(applications).flatMap(({ deployments }) =>
    Object.values(deployments).map(({ replicas }) => replicas.filter(({ state }) => state === "RUNNING").length),
  );
  return counts.length === 0 ? 0 : Math.min(...counts);
}

/** Replicas that Ray runs of what was PUT last, however long it takes. */
function grantedTo({ config }: FakeCluster): number {
  const entries = config?.applications.flatMap(({ deployments = [] }) => deployments) ?? [];
  const counts = entries.map(({ num_replicas: count }) =>
    rayReplicas(Number(count ?? 1), config?.target_capacity ?? 100),
  );
  return counts.length === 0 ? 0 : Math.min(...counts);
}

/** One replica a node: the most that two clusters have at any split of the capacity. */
function mostWorkers([first = 0, second = 0, ...others]: number[], surge: number): number {
  const splits = Array.from({ length: 101 }, (_, percent) => percent).map((percent) => {
    const rest = Math.min(100, 100 + surge - percent);
    return Math.max(
      roundedUpReplicas(first, percent) + roundedUpReplicas(second, rest),
      roundedUpReplicas(first, rest) + roundedUpReplicas(second, percent),
    );
  });
  return Math.max(...splits) + others.reduce((sum, count) => sum + count, 0);
}
