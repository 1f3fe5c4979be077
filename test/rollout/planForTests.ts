import type { Goal, Waypoint } from "../../rollout/plan";
import * as plan from "../../rollout/plan";

export type Triple = [primaryCapacity: number, canaryCapacity: number, canaryTraffic: number];
export type Surge = number | undefined;

export const at = (...[primaryCapacity, canaryCapacity, canaryTraffic]: Triple): Waypoint => ({
  primaryCapacity,
  canaryCapacity,
  canaryTraffic,
});
export const triple = (w: Waypoint): Triple => [w.primaryCapacity, w.canaryCapacity, w.canaryTraffic];
export const split = (traffic: number, surge?: number): Goal => ({ kind: "split", traffic, surge });
export const rollback = (surge?: number): Goal => ({ kind: "rollback", surge });
export const trafficOf = (goal: Goal): number => (goal.kind === "split" ? goal.traffic : 0);
export const walked = (from: Waypoint, goal: Goal): Triple[] => plan.walk(from, goal).map(triple);
export const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
export const key = (w: Waypoint): number => (w.primaryCapacity * 101 + w.canaryCapacity) * 101 + w.canaryTraffic;

export const holds = [0, 1, 5, 10, 33, 50, 99];
export const surges = upTo(100);
export const otherSurges: Surge[] = [undefined, 1, 7, 25, 50, 100];
