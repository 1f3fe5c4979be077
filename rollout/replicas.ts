/**
 * Replica counts at a capacity. A service's capacity rounds up (7 replicas at 30% are 3); Ray Serve rounds half up and
 * would run 2. What is sent to Ray is therefore a count that its rounding turns into the right one. Counts and
 * capacities are integers, so that n * capacity / 100 is exact.
 */

/** How many replicas Ray Serve runs of `count` at `target_capacity` percent. */
export function rayReplicas(count: number, capacity: number): number {
  if (count === 0 || capacity === 0) {
    return 0;
  }
  return Math.max(1, Math.floor((count * capacity + 50) / 100));
}

/** How many replicas a deployment of `count` has to run at `capacity` percent. */
export function roundedUpReplicas(count: number, capacity: number): number {
  return Math.ceil((count * capacity) / 100);
}

/**
 * The count to send instead of `count`: the smallest one, not below it, of which Ray runs roundedUpReplicas at this
 * capacity; exactly that many and no more. It grows with `count`, so the bounds of an autoscaling deployment stay in
 * order when each is sent this way.
 */
export function countToSend(count: number, capacity: number): number {
  const wanted = roundedUpReplicas(count, capacity);
  // Ray runs at least one replica of whatever is sent, so only from two on can its rounding give too few.
  return wanted <= 1 ? count : Math.max(count, Math.ceil((100 * wanted - 50) / capacity));
}

/** One deployment of a cluster: replicas at 100% capacity, and those that run now. */
export interface RunningDeployment {
  readonly full: number;
  readonly running: number;
}

/**
 * The most traffic, in whole percent, that a cluster can take with the replicas that run now: every deployment runs at
 * least its full count times the traffic, rounded up. 100 when no deployment imposes anything.
 */
export function servableTraffic(deployments: readonly RunningDeployment[]): number {
  const limits = deployments.filter((d) => d.full > 0).map((d) => Math.floor((100 * d.running) / d.full));
  return Math.min(100, ...limits);
}
