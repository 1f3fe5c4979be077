import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { within } from "../../provider/within";
import { root } from "../setup/support";

describe("a signal within a time", () => {
  it("is aborted with the other one", () => {
    const other = new AbortController();
    const signal = within(60_000, other.signal);
    other.abort(new Error("enough"));
    assert.match(String(signal.reason), /enough/);
  });

  for (const [other, given] of [
    ["another", "new AbortController().signal"],
    ["no other", "undefined"],
  ]) {
    it(`is aborted when the time is over, with ${other} signal, also when Node has collected what it can`, () => {
      const script = `
      const { within } = require("./dist/provider/within");
      const signal = within(300, ${given});
      signal.addEventListener("abort", () => console.log(signal.reason.name, signal.reason.message));
      const collecting = setInterval(() => global.gc(), 20);
      setTimeout(() => clearInterval(collecting), 1000);`;
      const said = execFileSync(process.execPath, ["--expose-gc", "-e", script], { cwd: root, encoding: "utf8" });
      assert.equal(said, "TimeoutError no answer within 0.3 s\n");
    });
  }
});
