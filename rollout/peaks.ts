import type { ServiceSpec } from "../components/serviceSpec";
import { deploymentsOf, type Observation } from "../provider/serve/observation";
import type { Waypoint } from "./plan";
import { roundedUpReplicas } from "./replicas";

/** A number that lies within bounds; the bounds are the same unless a deployment scales by itself. */
export interface Range {
  least: number;
  most: number;
}

/** What one deployment asks for at 100% capacity. */
export interface Demand {
  replicas: Range;
  /** Of each replica; undefined where the spec does not say, because the code does. */
  gpus: number | undefined;
}

export interface Peak {
  replicas: Range;
  /** Absent where the GPUs of a replica are set in code. */
  gpus?: Range;
}

/**
 * What each deployment of a version asks for: by its spec, and where that leaves it to the code, by what runs.
 *
 * @param role on a canary `initial_replicas` is the least until the rollout ends
 * @returns undefined where the code alone says how many replicas there are, and nothing runs to tell
 */
export function demandsOf(
  spec: ServiceSpec,
  role: "primary" | "canary",
  running: Observation | undefined,
): Demand[] | undefined {
  const observed = running === undefined ? [] : deploymentsOf(running);
  const demands = spec.applications.map(({ name, deployments }) => {
    const runs = observed.filter(({ application }) => application === name);
    const names = new Set([...deployments, ...runs.map(({ deployment }) => ({ name: deployment }))].map((d) => d.name));
    const all = [...names].map((deployment): Demand | undefined => {
      const entry = deployments.find((each) => each.name === deployment);
      const replicas =
        (entry && declared(entry, role)) ?? observedRange(runs.find((each) => each.deployment === deployment));
      const gpus = entry?.ray_actor_options?.num_gpus;
      return replicas && { replicas, gpus: gpus ?? undefined };
    });
    return all.length === 0 ? [undefined] : all;
  });
  const all = demands.flat();
  return all.every((demand) => demand !== undefined) ? all : undefined;
}

type Deployment = ServiceSpec["applications"][number]["deployments"][number];

function declared(entry: Deployment, role: "primary" | "canary"): Range | undefined {
  const { num_replicas: count, autoscaling_config: scaling } = entry;
  if (typeof count === "number") return { least: count, most: count };
  if (count !== "auto" && !scaling) return undefined;
  const { min_replicas: min = 1, max_replicas: max = count === "auto" ? 100 : 1, initial_replicas } = scaling ?? {};
  return { least: role === "canary" ? Math.max(min, initial_replicas ?? 0) : min, most: max };
}

function observedRange(runs: ReturnType<typeof deploymentsOf>[number] | undefined): Range | undefined {
  if (runs === undefined) return undefined;
  const { full, autoscaling } = runs.observed;
  return { least: full, most: autoscaling?.max ?? full };
}

/** The most that both clusters together run at any of the instants, counts rounded up on each; undefined where unknown. */
export function peakOf(
  full: { primary: Demand[] | undefined; canary: Demand[] | undefined },
  instants: readonly Waypoint[],
): Peak | undefined {
  const { primary, canary } = full;
  if (primary === undefined || canary === undefined) return undefined;
  const most = (each: (demand: Demand, capacity: number) => number) => {
    const of = (demands: Demand[], capacity: number) =>
      demands.reduce((total, demand) => total + each(demand, capacity), 0);
    return Math.max(0, ...instants.map((at) => of(primary, at.primaryCapacity) + of(canary, at.canaryCapacity)));
  };
  const range = (weight: (demand: Demand) => number): Range => ({
    least: most((demand, capacity) => weight(demand) * roundedUpReplicas(demand.replicas.least, capacity)),
    most: most((demand, capacity) => weight(demand) * roundedUpReplicas(demand.replicas.most, capacity)),
  });
  const known = [...primary, ...canary].every(({ gpus }) => gpus !== undefined);
  return { replicas: range(() => 1), ...(known ? { gpus: range(({ gpus = 0 }) => gpus) } : {}) };
}
