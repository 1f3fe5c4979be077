import assert from "node:assert/strict";
import { parseRecord, stateDigest } from "../../components/record";
import { rollingOut, running, v1 } from "./builders";

describe("parseRecord", () => {
  it("gives nothing for a stack that nothing was deployed to", () => {
    assert.equal(parseRecord(undefined), undefined);
    assert.equal(parseRecord(null), undefined);
  });

  it("gives back what was recorded, alone and during a rollout", () => {
    for (const record of [running, rollingOut([50, 50, 50], 50), rollingOut([100, 100, 0])]) {
      assert.deepEqual(parseRecord(JSON.parse(JSON.stringify(record))), record);
    }
  });

  it("tells an unconstrained capacity from one of 0 and of 100", () => {
    const primary = (capacity: number | null) => ({ ...running, primary: { ...running.primary, capacity } });
    for (const capacity of [null, 0, 100]) assert.equal(parseRecord(primary(capacity))?.primary.capacity, capacity);
  });

  it("throws on a record of another shape", () => {
    const { capacity: _, ...noCapacity } = running.primary;
    for (const other of [
      {},
      "RUNNING",
      { ...running, phase: "DONE" },
      { ...running, primary: noCapacity },
      { ...running, primary: { ...running.primary, spec: null } },
      { ...running, canary: {} },
      { ...running, digest: undefined },
    ]) {
      assert.throws(() => parseRecord(other), JSON.stringify(other));
    }
  });
});

describe("stateDigest", () => {
  const state = { name: "v1", digest: v1.digest, cluster: "v1" };

  it("is the same for the same version on the same cluster, whatever its capacity and traffic", () => {
    assert.equal(stateDigest(running.primary), stateDigest(rollingOut([50, 50, 50]).primary));
    assert.equal(stateDigest(state), running.digest);
  });

  it("differs in name, content and cluster", () => {
    const digests = [state, { ...state, name: "v2" }, { ...state, digest: "0" }, { ...state, cluster: "v1-2" }].map(
      stateDigest,
    );
    assert.equal(new Set(digests).size, 4);
  });
});
