import assert from "node:assert/strict";
import { type Placement, Refusal } from "../../components/placement";
import type { ConfiguredWaypoint } from "../../components/stackConfig";
import { startedAt } from "./builders";

export function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(Refusal.isInstance(error), String(error));
    return error.message;
  }
  return assert.fail("nothing was refused");
}

/** Refused, with the command that does it and the assurance that the service is as it was. */
export function refusedWith(command: string | RegExp, run: () => unknown): string {
  const message = refusal(run);
  assert.match(message, typeof command === "string" ? new RegExp(`\`${command}\``) : command);
  assert.match(message, /Nothing was changed\.$/);
  return message;
}

/** [primary capacity, canary capacity, canary traffic] of a rollout that goes on. */
export function triple({ primary, canary }: Placement): [number | null, number | null, number] {
  assert.ok(canary, "there is no canary");
  assert.equal(primary.traffic, 100 - canary.traffic);
  return [primary.capacity, canary.capacity, canary.traffic];
}

/** The version that runs alone, and the one that leaves for it. */
export function alone(placement: Placement): { primary: string; leaving: string | undefined } {
  const { primary, canary, phase, startedAt: started, deadline: ends } = placement;
  assert.deepEqual([canary, phase, started, ends], [undefined, "RUNNING", undefined, undefined]);
  assert.deepEqual([primary.capacity, primary.traffic], [null, 100]);
  return { primary: primary.name, leaving: placement.leaving?.name };
}

export function waypointConfig(changes: Partial<ConfiguredWaypoint> = {}): ConfiguredWaypoint {
  return {
    primary: "v1",
    canary: "v2",
    primaryCapacity: 75,
    canaryCapacity: 25,
    canaryTraffic: 25,
    direction: "forward",
    startedAt,
    surge: 25,
    ...changes,
  };
}
