import { place } from "../components/placement";
import type { PlacedVersion } from "../components/record";
import type { Change } from "../provider/serve/changes";
import { getApplications } from "../provider/serve/dashboard";
import type { Observation } from "../provider/serve/observation";
import { refuse } from "./deploy";
import { changesInPlace } from "./inPlace";
import { inspect } from "./inspect";
import { demandsOf, type Peak, peakOf, type Range } from "./peaks";
import { type Goal, type PlannedUpdate, planSummary, primaryOnly, traversed, type Waypoint } from "./plan";
import { type Deployed, isDeployed, openSession, type SessionOptions } from "./session";
import { readWanted, type Wanted, type WantedOptions } from "./wanted";

export interface PlanOptions extends SessionOptions, WantedOptions {
  /** As for `deploy`. */
  retry?: boolean | undefined;
}

export interface PlannedWaypoint extends PlannedUpdate {
  /**
   * Most replicas of both clusters together at any instant of the update, every count rounded up; absent where the code
   * alone says how many there are.
   */
  peakReplicas?: Range;
}

/** What a deploy would do; nothing is changed. */
export interface RolloutPlan {
  /** `rollbackFirst`: of another version than those of the rollout that is under way. */
  kind: "firstDeploy" | "unchanged" | "inPlace" | "rollout" | "rollbackFirst";
  version: string;
  from: Waypoint;
  /** Of the way back that comes first; none unless the kind is `rollbackFirst`. */
  back: PlannedWaypoint[];
  /** Of the rollout; none where no other version than the present primary is wanted. */
  waypoints: PlannedWaypoint[];
  /** Percent of one cluster's steady state. */
  peakCapacity: number;
  /** Absent where the code alone says how many replicas there are. */
  peakReplicas?: Range;
  /** Absent also where a replica's GPUs are set in code, so that the spec does not show them. */
  peakGpus?: Range;
  /** Whether an update follows that ends the old version's cluster. */
  completes: boolean;
  /** What becomes of the replicas; only of the kind `inPlace`. */
  changes?: Change[];
  notices: string[];
}

/**
 * The waypoints that a deploy of the same options would walk, from what runs now.
 *
 * @throws InvalidInput, Refused or Refusal as the deploy would
 */
export async function plan({ retry = false, ...options }: PlanOptions): Promise<RolloutPlan> {
  const session = await openSession(options);
  const wanted = await readWanted(session, options);
  const outputs = await session.stack.outputs(session.signal);
  if (!isDeployed(outputs)) return planFirst(wanted);
  refuse(outputs, wanted, retry);
  const { at: from } = await inspect(outputs.rollout, outputs.targets, session.signal);
  return planChange(wanted, outputs, from, await observe(outputs, session.signal));
}

function planFirst({ version, config }: Wanted): RolloutPlan {
  const { notices } = place(config, version, undefined, new Date());
  const peak = peakOf({ primary: demandsOf(version.spec, "primary", undefined), canary: [] }, [primaryOnly]);
  return {
    kind: "firstDeploy",
    version: version.name,
    from: { ...primaryOnly, primaryCapacity: 0 },
    ...alone(peak),
    notices: [...config.notices, ...notices],
  };
}

/** What runs of each role; undefined for a cluster that does not answer. */
interface Observed {
  primary: Observation | undefined;
  canary: Observation | undefined;
}

async function observe({ rollout, targets }: Deployed, signal: AbortSignal): Promise<Observed> {
  const ask = async (version: PlacedVersion | undefined) => {
    const address = version && targets.clusters[version.cluster];
    return address && getApplications(address, signal).catch(() => undefined);
  };
  const [primary, canary] = await Promise.all([ask(rollout.primary), ask(rollout.canary)]);
  return { primary, canary };
}

function planChange({ version, config }: Wanted, { rollout }: Deployed, from: Waypoint, runs: Observed): RolloutPlan {
  const { primary, canary } = rollout;
  const common = { version: version.name, from, notices: config.notices };
  const wantedDemands = (role: "primary" | "canary") =>
    // What the code declares for a version that does not run yet is taken to be what the running one's does.
    demandsOf(version.spec, role, version.digest === canary?.digest ? runs.canary : runs.primary);
  const primaryDemands = demandsOf(primary.spec, "primary", runs.primary);
  const same = version.digest === primary.digest;
  if (config.inPlace === true && !same) {
    const peak = peakOf({ primary: wantedDemands("primary"), canary: [] }, [primaryOnly]);
    return { ...common, kind: "inPlace", ...alone(peak), changes: changesInPlace(primary, version) };
  }
  if (same && canary === undefined) {
    return { ...common, kind: "unchanged", ...alone(peakOf({ primary: primaryDemands, canary: [] }, [primaryOnly])) };
  }
  const surge = config.maxSurgePercent ?? rollout.surge;
  const goal: Goal = { kind: "split", traffic: config.canaryPercent ?? 100, surge };
  const demands = { primary: primaryDemands, canary: wantedDemands("canary") };
  if (canary === undefined || version.digest === canary.digest) {
    const walk = walkOf(from, goal, demands);
    return {
      ...common,
      kind: "rollout",
      back: [],
      waypoints: walk.waypoints,
      ...peaksOf(walk),
      completes: walk.completes,
    };
  }
  const rejected = { primary: primaryDemands, canary: demandsOf(canary.spec, "canary", runs.canary) };
  const back = walkOf(from, { kind: "rollback", surge }, rejected);
  const kind = "rollbackFirst";
  if (same) return { ...common, kind, back: back.waypoints, waypoints: [], ...peaksOf(back), completes: false };
  // Once it is back, no surge but that of the config is known.
  const walk = walkOf(primaryOnly, { ...goal, surge: config.maxSurgePercent }, demands);
  const { waypoints, completes } = walk;
  return { ...common, kind, back: back.waypoints, waypoints, ...peaksOf(back, walk), completes };
}

interface Walk {
  waypoints: PlannedWaypoint[];
  completes: boolean;
  peakCapacity: number;
  peak: Peak | undefined;
}

function walkOf(from: Waypoint, goal: Goal, demands: Parameters<typeof peakOf>[0]): Walk {
  const { updates, peakCapacity, completes } = planSummary(from, goal);
  const instants = updates.map(({ waypoint }, index) => traversed(updates[index - 1]?.waypoint ?? from, waypoint));
  const waypoints = updates.map((update, index) => {
    const peakReplicas = peakOf(demands, instants[index]!)?.replicas;
    return { ...update, ...(peakReplicas === undefined ? {} : { peakReplicas }) };
  });
  return { waypoints, completes, peakCapacity, peak: peakOf(demands, [from, ...instants.flat()]) };
}

type Peaks = Pick<RolloutPlan, "peakCapacity" | "peakReplicas" | "peakGpus">;

function peaksOf(...walks: Walk[]): Peaks {
  const most = (ranges: (Range | undefined)[]): Range | undefined =>
    ranges.every((range) => range !== undefined)
      ? {
          least: Math.max(...ranges.map(({ least }) => least)),
          most: Math.max(...ranges.map((range) => range.most)),
        }
      : undefined;
  const peakReplicas = most(walks.map(({ peak }) => peak?.replicas));
  const peakGpus = most(walks.map(({ peak }) => peak?.gpus));
  return {
    peakCapacity: Math.max(...walks.map(({ peakCapacity }) => peakCapacity)),
    ...(peakReplicas === undefined ? {} : { peakReplicas }),
    ...(peakGpus === undefined ? {} : { peakGpus }),
  };
}

/** Of one cluster, whole. */
function alone(peak: Peak | undefined): Peaks & Pick<RolloutPlan, "back" | "waypoints" | "completes"> {
  const walk = { waypoints: [], completes: false, peakCapacity: 100, peak };
  return { back: [], waypoints: [], completes: false, ...peaksOf(walk) };
}
