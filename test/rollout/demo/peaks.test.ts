import assert from "node:assert/strict";
import { limitsUnder, noPeaks, withSample } from "../../../rollout/demo/peaks";

const cluster = (version: string, capacity: number, replicas: number, workers: number) => ({
  version,
  capacity,
  replicas,
  workers,
});

describe("the demo's peaks", () => {
  it("are those of both clusters at the same instant", () => {
    const samples = [
      [cluster("v1", 100, 4, 4)],
      [cluster("v1", 100, 4, 4), cluster("v2", 50, 1, 2)],
      [cluster("v1", 50, 3, 4), cluster("v2", 50, 2, 2)],
      [cluster("v2", 100, 4, 4)],
    ];
    const peaks = samples.reduce(withSample, noPeaks);
    assert.deepEqual(peaks, { capacity: 150, replicas: 5, workers: 6, samples: 4 });
  });

  it("are held against the surge: 50 allows 4 replicas 6 workers, and a part of a replica is a whole one", () => {
    assert.deepEqual(limitsUnder(50, 4), { capacity: 150, workers: 6 });
    assert.deepEqual(limitsUnder(10, 4), { capacity: 110, workers: 5 });
  });
});
