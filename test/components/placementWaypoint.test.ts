import assert from "node:assert/strict";
import type { RolloutRecord, Version } from "../../components/record";
import type { ConfiguredWaypoint } from "../../components/stackConfig";
import { deadline, placing, recordAfter, rollingOut, running, startedAt, v1, v2, v3 } from "./builders";
import { alone, refusedWith, triple, waypointConfig } from "./placementForTests";

describe("placement of a waypoint of the driver", () => {
  it("starts the canary at exactly that waypoint", () => {
    const placement = placing({ waypoint: waypointConfig() }, v2, running);
    assert.deepEqual(triple(placement), [75, 25, 25]);
    assert.deepEqual(
      [placement.phase, placement.order, placement.surge, placement.startedAt, placement.deadline],
      ["ROLLING_OUT", "forward", 25, startedAt, deadline],
    );
    assert.equal(placement.canary?.cluster, "v2");
  });

  it("counts before canary percent and surge of the config", () => {
    const placement = placing({ waypoint: waypointConfig(), canaryPercent: 90, maxSurgePercent: 100 }, v2, running);
    assert.deepEqual([triple(placement), placement.surge], [[75, 25, 25], 25]);
  });

  it("takes the traffic to 100% without ending the old version", () => {
    const waypoint = waypointConfig({ primaryCapacity: 0, canaryCapacity: 100, canaryTraffic: 100 });
    assert.deepEqual(triple(placing({ waypoint }, v2, rollingOut([25, 75, 75], 25))), [0, 100, 100]);
  });

  it("leaves a whole primary unconstrained", () => {
    const waypoint = waypointConfig({ primaryCapacity: 100, canaryCapacity: 25 });
    assert.deepEqual(triple(placing({ waypoint }, v2, running)), [null, 25, 25]);
  });

  it("goes back: the primary receives, and the canary stays until the update after the last waypoint", () => {
    const back = waypointConfig({ direction: "back" });
    const placement = placing({ waypoint: back }, v1, rollingOut([50, 50, 50], 25));
    assert.deepEqual(triple(placement), [75, 25, 25]);
    assert.deepEqual([placement.phase, placement.order], ["ROLLING_BACK", "back"]);
    const last = waypointConfig({ direction: "back", primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0 });
    const whole = placing({ waypoint: last }, v1, recordAfter(placement));
    assert.deepEqual(triple(whole), [null, 0, 0]);
    assert.deepEqual(alone(placing({}, v1, recordAfter(whole))), { primary: "v1", leaving: "v2" });
  });

  it("goes back to a lower split without becoming a rollback", () => {
    const placement = placing(
      { waypoint: waypointConfig({ direction: "back" }), canaryPercent: 25 },
      v2,
      rollingOut([50, 50, 50], 25),
    );
    assert.deepEqual([placement.phase, placement.order], ["ROLLING_OUT", "back"]);
  });

  it("goes back at once: no order, the primary unconstrained, the canary gone", () => {
    const waypoint = waypointConfig({
      direction: "back",
      primaryCapacity: 100,
      canaryCapacity: 0,
      canaryTraffic: 0,
      immediate: true,
    });
    const placement = placing({ waypoint }, v1, rollingOut([25, 75, 75], 50));
    assert.deepEqual(alone(placement), { primary: "v1", leaving: "v2" });
    assert.equal(placement.order, "concurrent");
    assert.deepEqual(recordAfter(placement), running);
  });

  it("goes back at once with what is left of the primary, where the rest has no room yet", () => {
    const waypoint = waypointConfig({
      direction: "back",
      primaryCapacity: 25,
      canaryCapacity: 0,
      canaryTraffic: 0,
      immediate: true,
    });
    const { primary, canary, leaving, order } = placing({ waypoint }, v1, rollingOut([25, 75, 75], 50));
    assert.deepEqual([primary.capacity, primary.traffic, canary], [25, 100, undefined]);
    assert.deepEqual([leaving?.name, order], ["v2", "concurrent"]);
  });

  it("is over when its canary is gone and the primary's version is wanted", () => {
    assert.deepEqual(recordAfter(placing({ waypoint: waypointConfig({ direction: "back" }) }, v1, running)), running);
  });

  const foreign: Array<[string, Partial<ConfiguredWaypoint>, Version, RolloutRecord]> = [
    ["of another primary", { primary: "v0" }, v2, running],
    ["of another canary than the one that runs", { canary: "v3" }, v2, rollingOut([75, 25, 25], 25)],
    ["of another canary than the one that is wanted", { canary: "v3" }, v2, running],
    ["while a third version is wanted", {}, v3, rollingOut([75, 25, 25], 25)],
    ["of versions that changed places", { primary: "v2", canary: "v1" }, v2, rollingOut([75, 25, 25], 25)],
    ["of another rollout, going back at once", { canary: "v3", immediate: true }, v1, rollingOut([75, 25, 25], 25)],
  ];
  for (const [what, changes, wanted, record] of foreign) {
    it(`is refused ${what}`, () => {
      const message = refusedWith("pulumi config rm rayshift:waypoint", () =>
        placing({ waypoint: waypointConfig(changes) }, wanted, record),
      );
      assert.match(message, /but the stack runs v1.*`rayshift deploy` or `rayshift rollback`/);
    });
  }

  it("is refused above its surge, and with more traffic than capacity, naming the reason", () => {
    const total = refusedWith("rayshift deploy", () =>
      placing({ waypoint: waypointConfig({ primaryCapacity: 100, canaryCapacity: 30 }) }, v2, running),
    );
    assert.match(total, /100% \(primary\) \+ 30% \(canary\) = 130%, more than 125%/);
    const traffic = refusedWith("rayshift deploy", () =>
      placing({ waypoint: waypointConfig({ canaryCapacity: 20 }) }, v2, running),
    );
    assert.match(traffic, /the canary would get 25% of the traffic at 20% capacity/);
  });
});
