import assert from "node:assert/strict";
import { brokenPromises, type Summary } from "../../../rollout/demo/summary";

const versions = { first: "v1", good: "v2", broken: "v3" };
const good: Summary = {
  waypoints: [],
  requests: 9000,
  failed: 0,
  causes: {},
  answers: { v1: 4000, v2: 5000 },
  milliseconds: { median: 12, p99: 80, longest: 300 },
  byHeader: { primary: "v1", canary: "v2" },
  peakCapacity: 150,
  peakReplicas: 6,
  peakWorkers: 6,
  capacityLimit: 150,
  workersLimit: 6,
  rolledBack: "no model",
  versionAtEnd: "v2",
  seconds: 150,
};

describe("the demo's verdict", () => {
  it("is good when every promise was kept", () => {
    assert.deepEqual(brokenPromises(good, versions), []);
  });

  const cases: [string, Partial<Summary>, RegExp][] = [
    ["a request failed", { failed: 1, causes: { "status 503": 1 } }, /^1 of 9000 requests failed: status 503 1$/],
    ["no request was sent", { requests: 0 }, /^0 of 0 requests failed/],
    ["the surge was exceeded in capacity", { peakCapacity: 151 }, /reached 151%, more than 150%/],
    ["the surge was exceeded in workers", { peakWorkers: 7 }, /^7 workers .* more than 6$/],
    ["the header for the primary went astray", { byHeader: { primary: "v2", canary: "v2" } }, /primary reached v2/],
    ["the header for the canary was not answered", { byHeader: { primary: "v1" } }, /canary reached no version/],
    ["the version that cannot start stayed", { versionAtEnd: "v3" }, /^version v3 is in charge/],
  ];
  for (const [name, change, message] of cases) {
    it(`is bad when ${name}`, () => {
      const [problem = "", ...more] = brokenPromises({ ...good, ...change }, versions);
      assert.match(problem, message);
      assert.deepEqual(more, []);
    });
  }

  it("is bad when the version that cannot start was not rolled back", () => {
    const { rolledBack: _, ...summary } = good;
    assert.deepEqual(brokenPromises(summary, versions), ["v3 cannot start but was not rolled back"]);
  });
});
