import assert from "node:assert/strict";
import { countToSend, rayReplicas, roundedUpReplicas, servableTraffic } from "../../rollout/replicas";

const counts = Array.from({ length: 201 }, (_, n) => n);
const capacities = Array.from({ length: 101 }, (_, c) => c);

/** ceil(count * capacity / 100) by counting in hundredths, without any division. */
function ceilByCounting(count: number, capacity: number): number {
  let replicas = 0;
  while (100 * replicas < count * capacity) {
    replicas++;
  }
  return replicas;
}

describe("rayReplicas", () => {
  it("rounds half up and never below one", () => {
    assert.equal(rayReplicas(7, 50), 4);
    assert.equal(rayReplicas(7, 30), 2);
    assert.equal(rayReplicas(1, 50), 1);
    assert.equal(rayReplicas(1, 1), 1);
    assert.equal(rayReplicas(5, 10), 1);
    assert.equal(rayReplicas(25, 10), 3);
  });

  it("runs none only at capacity 0 or of a count of 0", () => {
    assert.equal(rayReplicas(7, 0), 0);
    assert.equal(rayReplicas(0, 100), 0);
    assert.equal(rayReplicas(0, 1), 0);
  });
});

describe("roundedUpReplicas", () => {
  it("gives the seed's example, 4 of 7 at 50%", () => {
    assert.equal(roundedUpReplicas(7, 50), 4);
  });

  it("is exact for every count and capacity", () => {
    for (const n of counts) {
      for (const c of capacities) {
        assert.equal(roundedUpReplicas(n, c), ceilByCounting(n, c), `${n} at ${c}%`);
      }
    }
  });
});

describe("countToSend", () => {
  it("sends a larger count where Ray's rounding would give too few", () => {
    assert.equal(countToSend(7, 30), 9);
    assert.equal(rayReplicas(9, 30), 3);
  });

  it("sends the count itself where Ray's rounding is right", () => {
    assert.equal(countToSend(7, 50), 7);
    assert.equal(countToSend(7, 100), 7);
    assert.equal(countToSend(7, 0), 7);
    assert.equal(countToSend(0, 30), 0);
    assert.equal(countToSend(1, 1), 1);
  });

  it("makes Ray run exactly the count rounded up, for every count and capacity", () => {
    for (const n of counts) {
      for (const c of capacities) {
        assert.equal(rayReplicas(countToSend(n, c), c), ceilByCounting(n, c), `${n} at ${c}%`);
      }
    }
  });

  it("is the smallest such count and never below the count itself", () => {
    for (const n of counts) {
      for (const c of capacities) {
        const sent = countToSend(n, c);
        assert.ok(sent >= n, `${n} at ${c}%`);
        assert.ok(sent === n || rayReplicas(sent - 1, c) < ceilByCounting(n, c), `${n} at ${c}%: ${sent}`);
      }
    }
  });

  it("keeps min, initial and max replicas in order at every capacity", () => {
    for (const c of capacities) {
      for (const n of counts.slice(1)) {
        assert.ok(countToSend(n - 1, c) <= countToSend(n, c), `${n} at ${c}%`);
      }
    }
  });
});

describe("servableTraffic", () => {
  it("is the largest percent that every running deployment can take", () => {
    for (const full of counts.slice(1, 60)) {
      for (let running = 0; running <= full + 1; running++) {
        const traffic = servableTraffic([{ full, running }]);
        assert.ok(running >= ceilByCounting(full, traffic), `${running} of ${full}: ${traffic}%`);
        assert.ok(traffic === 100 || running < ceilByCounting(full, traffic + 1), `${running} of ${full}: ${traffic}%`);
      }
    }
  });

  it("is that of the weakest deployment", () => {
    assert.equal(
      servableTraffic([
        { full: 4, running: 4 },
        { full: 4, running: 1 },
        { full: 2, running: 1 },
      ]),
      25,
    );
  });

  it("is 100 where nothing limits it, and 0 where a deployment runs nothing", () => {
    assert.equal(servableTraffic([]), 100);
    assert.equal(servableTraffic([{ full: 0, running: 0 }]), 100);
    assert.equal(servableTraffic([{ full: 1, running: 0 }]), 0);
    assert.equal(servableTraffic([{ full: 2, running: 5 }]), 100);
  });

  it("covers the capacity of every count that was sent, so a waypoint's traffic can always be served", () => {
    for (const full of counts) {
      for (const c of capacities) {
        const running = rayReplicas(countToSend(full, c), c);
        assert.ok(servableTraffic([{ full, running }]) >= c, `${full} at ${c}%`);
      }
    }
  });
});
