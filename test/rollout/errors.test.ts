import assert from "node:assert/strict";
import { SetUpIncomplete } from "../../components/local/host";
import { Refusal } from "../../components/placement";
import { InvalidInput } from "../../components/problems";
import {
  DeadlinePassed,
  exitCodeOf,
  RayshiftError,
  Refused,
  RolledBack,
  StackLocked,
  UpdateFailed,
} from "../../rollout/errors";

describe("exitCodeOf", () => {
  const cases: Array<[string, unknown, number]> = [
    ["an update that failed", new UpdateFailed("no"), 1],
    ["what nobody foresaw", new Error("no"), 1],
    ["what is not even an error", "no", 1],
    ["nothing", undefined, 1],
    ["an input that is refused", new Refused("no"), 2],
    ["an input that is not valid", new InvalidInput([]), 2],
    ["an update that is not safe", new Refusal("no"), 2],
    ["missing tools", new SetUpIncomplete("no"), 2],
    ["a rollback", new RolledBack("v2", "it fails"), 3],
    ["a deadline that passed", new DeadlinePassed("v2", "too slow"), 4],
    ["a locked stack", new StackLocked("no"), 5],
  ];
  for (const [what, error, code] of cases) {
    it(`is ${code} for ${what}`, () => assert.equal(exitCodeOf(error), code));
  }
});

describe("errors of a rollout", () => {
  it("have names of their own", () => {
    const errors = [
      new Refused(""),
      new RolledBack("", ""),
      new DeadlinePassed("", ""),
      new StackLocked(""),
      new UpdateFailed(""),
    ];
    assert.deepEqual(
      errors.map(({ name }) => name),
      ["Refused", "RolledBack", "DeadlinePassed", "StackLocked", "UpdateFailed"],
    );
    for (const error of errors) assert.ok(error instanceof RayshiftError);
  });

  it("say which version was rolled back and why", () => {
    const error = new DeadlinePassed("v2", "not complete after 120 minutes");
    assert.equal(error.message, "version v2 was rolled back: not complete after 120 minutes");
    assert.deepEqual([error.version, error.reason], ["v2", "not complete after 120 minutes"]);
    assert.ok(error instanceof RolledBack);
  });
});
