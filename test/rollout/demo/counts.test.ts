import assert from "node:assert/strict";
import { count, noRequests, quantile } from "../../../rollout/demo/counts";

describe("the demo's count of requests", () => {
  it("counts a good answer for the version that gave it", () => {
    const counts = noRequests();
    for (const version of ["v1", "v2", "v1"]) count(counts, { status: 200, body: JSON.stringify({ version }) }, 5);
    assert.deepEqual(counts, { sent: 3, failed: 0, byVersion: { v1: 2, v2: 1 }, causes: {}, times: [5, 5, 5] });
  });

  it("counts every other ending as failed, by its cause", () => {
    const counts = noRequests();
    count(counts, { status: 503, body: "" }, 5);
    count(counts, { status: 302, body: JSON.stringify({ version: "v1" }) }, 5);
    count(counts, { error: "ECONNREFUSED" }, 5);
    count(counts, { error: "ECONNREFUSED" }, 5);
    assert.deepEqual(counts.causes, { "status 503": 1, 'status 302: {"version":"v1"}': 1, ECONNREFUSED: 2 });
    assert.equal(counts.failed, 4);
    assert.equal(counts.sent, 4);
  });

  it("keeps the beginning of what came with a status", () => {
    const counts = noRequests();
    count(counts, { status: 503, body: `${"no healthy upstream ".repeat(20)}\nmore` }, 5);
    assert.match(Object.keys(counts.causes).join(), /^status 503: (no healthy upstream ){6}$/);
  });

  it("does not take an answer without a version for a good one", () => {
    const counts = noRequests();
    for (const body of ["", "hello", "[]", "null", '{"version": 1}']) count(counts, { status: 200, body }, 5);
    assert.deepEqual(counts.byVersion, {});
    assert.deepEqual(counts.causes, { "an answer without a version": 5 });
  });

  it("tells how long good answers took, and leaves failed requests out", () => {
    const counts = noRequests();
    assert.equal(quantile(counts, 0.5), 0);
    const good = { status: 200, body: JSON.stringify({ version: "v1" }) };
    for (let milliseconds = 100; milliseconds >= 1; milliseconds -= 1) count(counts, good, milliseconds);
    count(counts, { error: "no answer" }, 30_000);
    assert.deepEqual(
      [0.5, 0.99, 1].map((share) => quantile(counts, share)),
      [50, 99, 100],
    );
  });
});
