/**
 * The waypoints of a rollout: which capacities and which traffic come next, and whether one update may go there.
 * Pure functions; every number is an integer percent.
 */

export type Role = "primary" | "canary";

/** The state of a rollout between two updates. The primary's traffic is what the canary does not get. */
export interface Waypoint {
  readonly primaryCapacity: number;
  readonly canaryCapacity: number;
  readonly canaryTraffic: number;
}

/**
 * Where a rollout is to go. A `split` gives the canary `traffic` percent: 100 completes the rollout, anything lower is
 * a hold, and 0 holds a healthy canary without traffic. A `rollback` leaves nothing of the canary. `surge`, 1..100, is
 * how far both capacities together may exceed 100; without one both clusters stay whole and only the traffic walks.
 */
export type Goal =
  | { readonly kind: "split"; readonly traffic: number; readonly surge?: number | undefined }
  | { readonly kind: "rollback"; readonly surge?: number | undefined };

/** forward: the canary receives traffic; back: the primary does. */
export type Direction = "forward" | "back";

/** One change of an update; a `shift` changes the canary's traffic, the others one cluster's capacity. */
export type Effect =
  | { readonly step: "grow" | "shrink"; readonly role: Role; readonly from: number; readonly to: number }
  | { readonly step: "shift"; readonly from: number; readonly to: number };

/** A broken invariant at one instant; `percent` means that a value is no integer from 0 to 100. */
export interface Problem {
  readonly invariant: "I1" | "I2" | "percent";
  readonly message: string;
}

/**
 * How a rollback goes from a waypoint. traffic-first: the primary is whole, so all traffic returns in one update that
 * starts no replica. capacity-following: the primary was shrunk and takes traffic only as its replicas start again.
 */
export type RollbackSpeed = "traffic-first" | "capacity-following";

export interface PlannedUpdate {
  readonly waypoint: Waypoint;
  readonly effects: readonly Effect[];
  /** The most capacity of both clusters together at any instant of this update. */
  readonly peakCapacity: number;
  /** Both as they are once this update is done. */
  readonly rollbackSpeed: RollbackSpeed;
  readonly rollbackUpdates: number;
}

export interface PlanSummary {
  readonly updates: readonly PlannedUpdate[];
  readonly peakCapacity: number;
  /** Whether one more update follows the waypoints: the one that deletes the cluster that lost. */
  readonly completes: boolean;
}

/** Before a rollout and after a rollback. */
export const primaryOnly: Waypoint = { primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0 };

/** The canary's traffic, update by update, when there is no surge; 0 first: it has to be healthy before it gets any. */
export const ladder: readonly number[] = [0, 5, 10, 20, 30, 50, 75, 100];

/**
 * A canary held at 0% under a surge: one replica of a deployment of up to 100. At capacity 0 Ray starts none, which
 * would prove nothing about the version.
 */
const smallestCapacity = 1;

/** Far more than any walk needs (101); reaching it is a bug. */
const mostUpdates = 1000;

export function equal(a: Waypoint, b: Waypoint): boolean {
  return (
    a.primaryCapacity === b.primaryCapacity &&
    a.canaryCapacity === b.canaryCapacity &&
    a.canaryTraffic === b.canaryTraffic
  );
}

export function totalCapacity(at: Waypoint): number {
  return at.primaryCapacity + at.canaryCapacity;
}

/** The waypoint at which nothing is left to do, the same from wherever the walk starts. */
export function destinationOf(goal: Goal): Waypoint {
  if (goal.kind === "rollback") {
    return primaryOnly;
  }
  if (goal.surge === undefined) {
    return { primaryCapacity: 100, canaryCapacity: 100, canaryTraffic: goal.traffic };
  }
  return {
    primaryCapacity: 100 - goal.traffic,
    canaryCapacity: Math.max(goal.traffic, smallestCapacity),
    canaryTraffic: goal.traffic,
  };
}

export function directionOf(at: Waypoint, goal: Goal): Direction {
  return goal.kind === "rollback" || servable(at).canaryTraffic > goal.traffic ? "back" : "forward";
}

/**
 * The same capacities with traffic that they can take. Only somebody else's hands leave other traffic, and a walk that
 * started from it would ask a cluster for what it does not have.
 */
function servable(at: Waypoint): Waypoint {
  const { primaryCapacity, canaryCapacity } = at;
  return { ...at, canaryTraffic: Math.min(canaryCapacity, Math.max(at.canaryTraffic, 100 - primaryCapacity)) };
}

/** The next waypoint, one update away; equal to `at` when nothing is left to do. */
export function nextWaypoint(from: Waypoint, goal: Goal): Waypoint {
  const at = servable(from);
  const destination = destinationOf(goal);
  const direction = directionOf(at, goal);
  if (goal.surge === undefined) {
    return direction === "back" ? destination : { ...destination, canaryTraffic: nextRung(at, destination) };
  }
  const most = 100 + goal.surge;
  return direction === "back" ? stepBack(at, destination, most) : stepForward(at, destination, most);
}

function nextRung(at: Waypoint, destination: Waypoint): number {
  if (at.canaryCapacity === 0) {
    return 0;
  }
  const rung = ladder.find((traffic) => traffic > at.canaryTraffic) ?? 100;
  return Math.min(rung, destination.canaryTraffic);
}

/**
 * The canary gets what the surge leaves beside the primary, then the traffic that fits, then the primary gives up what
 * it no longer needs. Under a surge lowered on the way the canary may shrink here, never below its traffic.
 */
function stepForward(at: Waypoint, destination: Waypoint, most: number): Waypoint {
  const canaryCapacity = Math.max(at.canaryTraffic, Math.min(destination.canaryCapacity, most - at.primaryCapacity));
  const canaryTraffic = Math.max(at.canaryTraffic, Math.min(destination.canaryTraffic, canaryCapacity));
  return { primaryCapacity: Math.min(at.primaryCapacity, 100 - canaryTraffic), canaryCapacity, canaryTraffic };
}

/**
 * The mirror of stepForward, but the primary never shrinks below what it will need: when the surge leaves it no room
 * to grow, this update only takes from the canary what its traffic does not need, and the next one grows the primary.
 */
function stepBack(at: Waypoint, destination: Waypoint, most: number): Waypoint {
  const primaryCapacity = Math.min(destination.primaryCapacity, Math.max(at.primaryCapacity, most - at.canaryCapacity));
  const canaryTraffic = Math.max(destination.canaryTraffic, Math.min(at.canaryTraffic, 100 - primaryCapacity));
  return { primaryCapacity, canaryCapacity: Math.max(canaryTraffic, destination.canaryCapacity), canaryTraffic };
}

/** The waypoints after `at`, one an update, until nothing is left to do; empty when `at` is already there. */
export function walk(at: Waypoint, goal: Goal): Waypoint[] {
  const waypoints: Waypoint[] = [];
  for (let here = at; ; ) {
    const next = nextWaypoint(here, goal);
    if (equal(next, here)) {
      return waypoints;
    }
    if (waypoints.length === mostUpdates) {
      throw new Error(
        `no end after ${mostUpdates} updates from ${describeWaypoint(at)} to ${describeWaypoint(destinationOf(goal))}: please report this`,
      );
    }
    waypoints.push(next);
    here = next;
  }
}

/** Whether the waypoints are done and the cluster that lost may be deleted; never for a hold. */
export function isComplete(at: Waypoint, goal: Goal): boolean {
  return completes(goal) && equal(at, destinationOf(goal));
}

function completes(goal: Goal): boolean {
  return goal.kind === "rollback" || goal.traffic === 100;
}

/**
 * What one update does, in order: every cluster that gains capacity grows, then the traffic shifts, then every cluster
 * that loses capacity shrinks. Each of the three values changes at most once.
 */
export function effects(from: Waypoint, to: Waypoint): Effect[] {
  const capacities = [
    { role: "primary", from: from.primaryCapacity, to: to.primaryCapacity },
    { role: "canary", from: from.canaryCapacity, to: to.canaryCapacity },
  ] as const;
  const ordered: Effect[] = capacities.filter((c) => c.to > c.from).map((c) => ({ step: "grow", ...c }));
  if (to.canaryTraffic !== from.canaryTraffic) {
    ordered.push({ step: "shift", from: from.canaryTraffic, to: to.canaryTraffic });
  }
  return ordered.concat(capacities.filter((c) => c.to < c.from).map((c) => ({ step: "shrink", ...c })));
}

/** Every instant of one update: `from`, then the state after each effect; the last one is `to`. */
export function traversed(from: Waypoint, to: Waypoint): Waypoint[] {
  const instants = [from];
  for (const effect of effects(from, to)) {
    instants.push(after(instants.at(-1)!, effect));
  }
  return instants;
}

function after(at: Waypoint, effect: Effect): Waypoint {
  if (effect.step === "shift") {
    return { ...at, canaryTraffic: effect.to };
  }
  return effect.role === "primary" ? { ...at, primaryCapacity: effect.to } : { ...at, canaryCapacity: effect.to };
}

/** Every invariant that one instant breaks. That traffic sums to 100 (I5) holds by the shape of a waypoint. */
export function check(at: Waypoint, surge?: number): Problem[] {
  const bad = Object.entries(at).filter(([, value]) => !Number.isInteger(value) || value < 0 || value > 100);
  if (bad.length > 0) {
    return bad.map(([name, value]) => ({
      invariant: "percent",
      message: `${name} is ${value}; it has to be an integer from 0 to 100`,
    }));
  }
  return [...checkTraffic(at), ...checkTotal(at, 100 + (surge ?? 100))];
}

function checkTraffic(at: Waypoint): Problem[] {
  const clusters = [
    { role: "primary", capacity: at.primaryCapacity, traffic: 100 - at.canaryTraffic },
    { role: "canary", capacity: at.canaryCapacity, traffic: at.canaryTraffic },
  ];
  return clusters
    .filter((cluster) => cluster.traffic > cluster.capacity)
    .map(({ role, capacity, traffic }) => ({
      invariant: "I1",
      message: `the ${role} would get ${traffic}% of the traffic at ${capacity}% capacity`,
    }));
}

function checkTotal(at: Waypoint, most: number): Problem[] {
  const total = totalCapacity(at);
  if (total <= most) {
    return [];
  }
  const sum = `${at.primaryCapacity}% (primary) + ${at.canaryCapacity}% (canary) = ${total}%`;
  return [{ invariant: "I2", message: `the capacities would be ${sum}, more than ${most}%` }];
}

/**
 * Why one update from `from` to `to` is not safe; empty when it is. Where a lowered surge is exceeded already the
 * total may not grow, and has to be within the surge at the end.
 */
export function problemsOfUpdate(from: Waypoint, to: Waypoint, surge?: number): Problem[] {
  const most = Math.max(100 + (surge ?? 100), totalCapacity(from));
  const underway = traversed(from, to)
    .slice(1, -1)
    .flatMap((instant) => [...checkTraffic(instant), ...checkTotal(instant, most)]);
  const problems = [...underway, ...check(to, surge)];
  return problems.filter((p, index) => problems.findIndex((q) => q.message === p.message) === index);
}

export function canReachInOneUpdate(from: Waypoint, to: Waypoint, surge?: number): boolean {
  return problemsOfUpdate(from, to, surge).length === 0;
}

export function rollbackSpeed(at: Waypoint): RollbackSpeed {
  return at.primaryCapacity === 100 ? "traffic-first" : "capacity-following";
}

/** What the walk from `at` to the goal will do, for people to read before it starts. */
export function planSummary(at: Waypoint, goal: Goal): PlanSummary {
  const waypoints = walk(at, goal);
  const updates = waypoints.map((waypoint, index): PlannedUpdate => {
    const from = waypoints[index - 1] ?? at;
    return {
      waypoint,
      effects: effects(from, waypoint),
      peakCapacity: Math.max(...traversed(from, waypoint).map(totalCapacity)),
      rollbackSpeed: rollbackSpeed(waypoint),
      rollbackUpdates: walk(waypoint, { kind: "rollback", surge: goal.surge }).length,
    };
  });
  return {
    updates,
    peakCapacity: Math.max(totalCapacity(at), ...updates.map((update) => update.peakCapacity)),
    completes: completes(goal),
  };
}

/** A waypoint in words, for messages and logs. */
export function describeWaypoint(at: Waypoint): string {
  return `primary ${at.primaryCapacity}% capacity, canary ${at.canaryCapacity}% capacity and ${at.canaryTraffic}% traffic`;
}
