import type { RolloutEvent } from "../rollout/index";

/** The waypoints that a command reached: percent of the primary's capacity, of the canary's, and of the canary's traffic. */
export function reachedIn(events: readonly RolloutEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.event !== "reached") return [];
    const { primaryCapacity, canaryCapacity, canaryTraffic } = event.waypoint;
    return [`${primaryCapacity} ${canaryCapacity} ${canaryTraffic}`];
  });
}
