import assert from "node:assert/strict";
import type { Inspection } from "../../rollout/inspect";
import { mayWithdraw } from "../../rollout/withdraw";

describe("traffic that an unhealthy canary has", () => {
  const seen = (primaryCapacity: number, changes: Partial<Inspection> = {}): Inspection => ({
    at: { primaryCapacity, canaryCapacity: 50, canaryTraffic: 50 },
    primary: { version: "v1", capacity: primaryCapacity, traffic: 50, replicas: null, workers: null },
    gone: [],
    drifted: false,
    silent: false,
    strange: [],
    outlivesHead: false,
    unhealthy: {},
    ...changes,
  });

  it("goes to the primary at once where everything goes back at once, or the primary is whole", () => {
    assert.equal(mayWithdraw("always", seen(50)), true);
    assert.equal(mayWithdraw("whilePrimaryIsWhole", seen(100)), true);
  });

  it("waits for a primary that was shrunk, or is not well", () => {
    assert.equal(mayWithdraw("whilePrimaryIsWhole", seen(50)), false);
    assert.equal(mayWithdraw("never", seen(100)), false);
    assert.equal(mayWithdraw("always", seen(100, { unhealthy: { primary: "UNHEALTHY" } })), false);
    assert.equal(mayWithdraw("always", seen(100, { gone: ["the cluster of v1"] })), false);
  });
});
