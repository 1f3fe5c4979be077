import assert from "node:assert/strict";
import { amountOf } from "../../../components/kubernetes/quantities";

describe("amounts of Kubernetes", () => {
  it("are numbers with or without a power of ten or of two", () => {
    const read = ["500m", "1", 0.5, ".5", "2.5k", "3Ki", "4Gi", "1e3", "2E-1", "1E", "100n"].map(amountOf);
    const close = (amount: number | undefined, expected: number) =>
      assert.ok(Math.abs((amount ?? -1) - expected) <= expected * 1e-9, `${amount} is not ${expected}`);
    for (const [index, expected] of [0.5, 1, 0.5, 0.5, 2500, 3072, 2 ** 32, 1000, 0.2, 1e18, 1e-7].entries()) {
      close(read[index], expected);
    }
  });

  it("are nothing else", () => {
    for (const text of ["", "half", "-1", "1 Gi", "1KB", "1gi", "m"]) assert.equal(amountOf(text), undefined, text);
  });
});
