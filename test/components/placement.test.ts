import assert from "node:assert/strict";
import { recordOf, waypointOf } from "../../components/placement";
import { parseRecord, type RolloutRecord, type Version } from "../../components/record";
import { deadline, placing, recordAfter, rollingOut, running, spec, startedAt, v1, v2, v3, version } from "./builders";
import { alone, refusedWith, triple, waypointConfig } from "./placementForTests";

describe("placement of a first deploy", () => {
  it("is the primary alone, unconstrained, on a cluster named after the version", () => {
    const placement = placing({}, v1, undefined);
    assert.deepEqual(alone(placement), { primary: "v1", leaving: undefined });
    assert.equal(placement.primary.cluster, "v1");
    assert.deepEqual(placement.notices, []);
  });

  it("says which settings have nothing to work on, a canary percent of 0 too", () => {
    const placement = placing({ canaryPercent: 0, maxSurgePercent: 50, inPlace: false }, v1, undefined);
    assert.deepEqual(alone(placement), { primary: "v1", leaving: undefined });
    assert.deepEqual(placement.notices, [
      "first deploy: there is nothing to roll out from, canaryPercent and maxSurgePercent ignored",
    ]);
    assert.match(placing({ inPlace: true }, v1, undefined).notices.join(), /from, inPlace ignored$/);
  });
});

describe("placement of the recorded version", () => {
  it("changes nothing: the record stays as it is, whatever else is set", () => {
    for (const settings of [{}, { canaryPercent: 10 }, { maxSurgePercent: 50 }]) {
      const placement = placing(settings, v1, running);
      assert.deepEqual(alone(placement), { primary: "v1", leaving: undefined });
      assert.deepEqual(recordAfter(placement), running);
    }
  });

  it("is known by its content, not by its name", () => {
    const renamed: Version = { ...v1, name: "other" };
    assert.equal(alone(placing({}, renamed, running)).primary, "v1");
  });
});

describe("placement of a new version without canary percent", () => {
  it("is all traffic on the new version in one update, and the end of the old one", () => {
    const placement = placing({}, v2, running);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.order, "forward");
    assert.equal(placement.primary.cluster, "v2");
  });

  it("completes a held split", () => {
    assert.deepEqual(alone(placing({}, v2, rollingOut([100, 100, 10]))), { primary: "v2", leaving: "v1" });
  });

  it("is one update too under a surge of 100", () => {
    const placement = placing({ maxSurgePercent: 100 }, v2, running);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.surge, 100);
  });

  it("is refused under a surge that one update cannot keep", () => {
    const message = refusedWith("rayshift deploy", () => placing({ maxSurgePercent: 50 }, v2, running));
    assert.match(message, /^0% to 100% of the traffic takes more than one update under a surge of 50%/);
    assert.match(message, /exceed 150% of capacity/);
  });
});

describe("placement of a split", () => {
  for (const percent of [0, 1, 10, 99]) {
    it(`holds the canary at ${percent}%`, () => {
      const placement = placing({ canaryPercent: percent }, v2, running);
      assert.deepEqual(triple(placement), [null, 100, percent]);
      assert.deepEqual(
        [placement.phase, placement.order, placement.startedAt, placement.deadline, placement.surge],
        ["ROLLING_OUT", "forward", startedAt, deadline, undefined],
      );
      assert.equal(placement.primary.name, "v1");
      assert.equal(placement.canary?.name, "v2");
      assert.equal(placement.leaving, undefined);
    });
  }

  it("keeps the deadline of the config from the start of the rollout", () => {
    const first = placing({ canaryPercent: 0, rolloutTimeoutMinutes: 1.5 }, v2, running);
    assert.equal(first.deadline, "2026-01-31T12:01:30.000Z");
    const next = placing({ canaryPercent: 10 }, v2, recordAfter(first), new Date("2026-01-31T13:00:00Z"));
    assert.deepEqual([next.startedAt, next.deadline], [startedAt, deadline]);
  });

  it("changes nothing while the split is as recorded, with or without a surge", () => {
    for (const record of [rollingOut([100, 100, 10]), rollingOut([90, 10, 10], 50), rollingOut([100, 100, 0])]) {
      const percent = record.canary!.traffic;
      assert.deepEqual(recordAfter(placing({ canaryPercent: percent }, v2, record)), record);
    }
  });

  it("moves up", () => {
    const placement = placing({ canaryPercent: 50 }, v2, rollingOut([100, 100, 10]));
    assert.deepEqual(triple(placement), [null, 100, 50]);
    assert.equal(placement.order, "forward");
  });

  it("moves down with the primary receiving, and is still a split that is held", () => {
    const placement = placing({ canaryPercent: 10 }, v2, rollingOut([100, 100, 50]));
    assert.deepEqual(triple(placement), [null, 100, 10]);
    assert.deepEqual([placement.order, placement.phase], ["back", "ROLLING_OUT"]);
    const record = recordAfter(placement);
    assert.deepEqual(recordAfter(placing({ canaryPercent: 10 }, v2, record)), record);
  });

  it("moves down to 0 without ending the canary", () => {
    assert.deepEqual(triple(placing({ canaryPercent: 0 }, v2, rollingOut([100, 100, 50]))), [null, 100, 0]);
  });

  it("completes at 100", () => {
    for (const record of [running, rollingOut([100, 100, 10])]) {
      assert.deepEqual(alone(placing({ canaryPercent: 100 }, v2, record)), { primary: "v2", leaving: "v1" });
    }
  });

  it("completes at 100 where all traffic is on the canary already", () => {
    const placement = placing({ canaryPercent: 100 }, v2, rollingOut([0, 100, 100], 50));
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
  });
});

describe("placement of a split under a surge", () => {
  it("moves the capacities with the traffic", () => {
    const placement = placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, running);
    assert.deepEqual(triple(placement), [75, 25, 25]);
    assert.equal(placement.surge, 25);
  });

  it("starts as little as there is for a canary without traffic", () => {
    assert.deepEqual(triple(placing({ canaryPercent: 0, maxSurgePercent: 25 }, v2, running)), [null, 1, 0]);
  });

  it("goes on with the recorded surge where the config has none", () => {
    const record = rollingOut([75, 25, 25], 25);
    assert.deepEqual(triple(placing({ canaryPercent: 50 }, v2, record)), [50, 50, 50]);
    refusedWith("rayshift deploy", () => placing({ canaryPercent: 80 }, v2, record));
  });

  it("takes another surge from the config", () => {
    const placement = placing({ canaryPercent: 100, maxSurgePercent: 75 }, v2, rollingOut([75, 25, 25], 25));
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.surge, 75);
  });

  it("moves down, the primary growing within the surge", () => {
    assert.deepEqual(triple(placing({ canaryPercent: 10 }, v2, rollingOut([50, 50, 50], 50))), [90, 10, 10]);
    const message = refusedWith("rayshift deploy", () =>
      placing({ canaryPercent: 10 }, v2, rollingOut([50, 50, 50], 25)),
    );
    assert.match(message, /^50% to 10% of the traffic/);
  });

  it("is refused where one update cannot keep it", () => {
    const message = refusedWith("rayshift deploy", () =>
      placing({ canaryPercent: 50, maxSurgePercent: 25 }, v2, running),
    );
    assert.match(message, /^0% to 50% of the traffic .* surge of 25%: one alone would exceed 125%/);
  });

  it("completes in one update where what is left fits", () => {
    const record = rollingOut([50, 50, 50], 50);
    const placement = placing({}, v2, record);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: "v1" });
    assert.equal(placement.surge, 50);
    assert.equal(recordOf(placement).surge, undefined);
  });
});

describe("placement of the primary's version while a canary runs", () => {
  it("is a rollback in one update", () => {
    const placement = placing({}, v1, rollingOut([100, 100, 75]));
    assert.deepEqual(alone(placement), { primary: "v1", leaving: "v2" });
    assert.equal(placement.order, "back");
  });

  it("is one whatever canary percent the config still has", () => {
    assert.deepEqual(alone(placing({ canaryPercent: 75 }, v1, rollingOut([100, 100, 75]))), {
      primary: "v1",
      leaving: "v2",
    });
  });

  it("is one update under a surge that leaves the primary room to grow", () => {
    const placement = placing({}, v1, rollingOut([50, 50, 50], 50));
    assert.deepEqual(alone(placement), { primary: "v1", leaving: "v2" });
    assert.equal(placement.surge, 50);
  });

  it("is refused under a smaller surge", () => {
    for (const settings of [{}, { maxSurgePercent: 25 }]) {
      const message = refusedWith("rayshift rollback", () => placing(settings, v1, rollingOut([50, 50, 50], 25)));
      assert.match(message, /^back from 50% of the traffic takes more than one update under a surge of 25%/);
    }
  });

  it("ends in the state that was before the rollout", () => {
    const during = recordAfter(placing({ canaryPercent: 50 }, v2, running));
    assert.equal(during.digest, running.digest);
    assert.deepEqual(recordAfter(placing({}, v1, during)), running);
  });

  it("ends in another state than a promotion", () => {
    assert.notEqual(recordAfter(placing({}, v2, running)).digest, running.digest);
  });
});

describe("placement of a third version during a rollout", () => {
  it("is refused", () => {
    const message = refusedWith("rayshift deploy", () => placing({}, v3, rollingOut([100, 100, 10])));
    assert.match(message, /^version v3 is wanted while version v2 rolls out over v1/);
  });
});

describe("placement of a used version name with another spec", () => {
  const reused: Version = { ...v3, name: "v1" };

  it("is refused: of the primary", () => {
    assert.match(
      refusedWith("version_name", () => placing({}, reused, running)),
      /^version_name v1 is the name of a version that runs with another spec/,
    );
  });

  it("is refused: of the canary, and for a waypoint or in place too", () => {
    const record = rollingOut([100, 100, 10]);
    refusedWith("version_name", () => placing({}, { ...v3, name: "v2" }, record));
    refusedWith("version_name", () => placing({ waypoint: waypointConfig() }, { ...v3, name: "v2" }, record));
    refusedWith("version_name", () => placing({ inPlace: true }, reused, running));
  });

  it("is allowed for a name that nothing has any more", () => {
    const promoted = recordAfter(placing({}, v2, running));
    assert.equal(alone(placing({}, reused, promoted)).primary, "v1");
  });
});

describe("placement of an in-place update", () => {
  it("gives the primary's cluster the new version", () => {
    const placement = placing({ inPlace: true }, v2, running);
    assert.deepEqual(alone(placement), { primary: "v2", leaving: undefined });
    assert.equal(placement.primary.cluster, "v1");
    assert.deepEqual(placement.primary.spec, v2.spec);
  });

  it("changes nothing when the version is the recorded one", () => {
    assert.deepEqual(recordAfter(placing({ inPlace: true }, v1, running)), running);
  });

  it("is refused while a canary runs", () => {
    const message = refusedWith("rayshift rollback", () => placing({ inPlace: true }, v3, rollingOut([100, 100, 10])));
    assert.match(message, /^an in-place update of v1 is refused while v2 rolls out.*`rayshift deploy`/);
  });

  it("is refused when other keys changed, naming them", () => {
    const changed = version("v2", { env_vars: { A: "1" }, ray_version: "2.60.0" });
    const message = refusedWith("inPlace", () => placing({ inPlace: true }, changed, running));
    assert.match(message, /but `env_vars`, `ray_version` changed as well/);
  });

  it("is refused when the working directory holds something else", () => {
    const files = { source: "/code", excludes: [] };
    const before: RolloutRecord = {
      ...running,
      primary: { ...running.primary, workingDirectory: { ...files, digest: "a".repeat(64) } },
    };
    const changed: Version = { ...v2, workingDirectory: { ...files, digest: "b".repeat(64) } };
    assert.match(
      refusedWith("inPlace", () => placing({ inPlace: true }, changed, before)),
      /but `working_dir` changed/,
    );
  });

  it("leaves its old cluster name to no other version's cluster", () => {
    const after = recordAfter(placing({ inPlace: true }, v2, running));
    const back = placing({ canaryPercent: 10 }, v1, after);
    assert.equal(back.canary?.name, "v1");
    assert.notEqual(back.canary?.cluster, after.primary.cluster);
    const promoted = recordAfter(placing({}, v1, recordAfter(back)));
    assert.equal(promoted.primary.cluster, back.canary?.cluster);
  });
});

describe("recordOf", () => {
  it("goes through the stack's JSON unchanged", () => {
    const compute = { head_node: { resources: { CPU: 4 } }, worker_nodes: [{ name: "gpu", resources: { CPU: 1 } }] };
    const rich: Version = {
      ...v2,
      spec: spec({ version_name: "v2", compute_config: compute, env_vars: { A: "1" } }),
      workingDirectory: { source: "/code", digest: "a".repeat(64), excludes: ["*.md"] },
    };
    for (const placement of [
      placing({}, rich, undefined),
      placing({ canaryPercent: 0, maxSurgePercent: 50 }, rich, running),
      placing({ canaryPercent: 30, maxSurgePercent: 50 }, rich, running),
    ]) {
      const plain = JSON.parse(JSON.stringify(recordOf(placement)));
      assert.deepEqual(JSON.parse(JSON.stringify(parseRecord(plain))), plain);
      assert.deepEqual((placement.canary ?? placement.primary).workingDirectory, rich.workingDirectory);
      assert.deepEqual(waypointOf(parseRecord(plain)!), waypointOf(recordOf(placement)));
    }
  });
});

describe("waypointOf", () => {
  it("counts an unconstrained cluster as 100%, and a cluster that is not there as 0", () => {
    assert.deepEqual(waypointOf(running), { primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0 });
    assert.deepEqual(waypointOf(rollingOut([100, 0, 0])), {
      primaryCapacity: 100,
      canaryCapacity: 0,
      canaryTraffic: 0,
    });
    const unconstrained = {
      ...rollingOut([100, 1, 0]),
      canary: { ...rollingOut([100, 1, 0]).canary!, capacity: null },
    };
    assert.equal(waypointOf(unconstrained).canaryCapacity, 100);
  });
});
