import assert from "node:assert/strict";
import { CommanderError } from "commander";
import { ZodError } from "zod";
import { InvalidInput } from "../../../components/problems";
import { report } from "../../../rollout/cli/report";
import { DeadlinePassed, Refused, RolledBack, StackLocked, UpdateFailed } from "../../../rollout/errors";

/** What reporting an error writes, and the exit code it gives. */
function reported(error: unknown, json = false): { code: number; stdout: string; stderr: string } {
  const { stdout, stderr } = process;
  const written = { stdout: "", stderr: "" };
  const [writeOut, writeErr] = [stdout.write, stderr.write];
  stdout.write = ((text: string) => {
    written.stdout += text;
    return true;
  }) as typeof stdout.write;
  stderr.write = ((text: string) => {
    written.stderr += text;
    return true;
  }) as typeof stderr.write;
  try {
    return { code: report(error, json), ...written };
  } finally {
    stdout.write = writeOut;
    stderr.write = writeErr;
  }
}

describe("report", () => {
  const foreseen: Array<[Error, number]> = [
    [new UpdateFailed("no GPU"), 1],
    [new Refused("not allowed"), 2],
    [new InvalidInput([{ path: "--file", rule: "is not there", remedy: "give a path" }], "command line"), 2],
    [new RolledBack("v2", "D is UNHEALTHY"), 3],
    [new DeadlinePassed("v2", "too slow"), 4],
    [new StackLocked("somebody else"), 5],
  ];
  for (const [error, code] of foreseen) {
    it(`says ${error.name} in its own words alone, and gives ${code}`, () => {
      assert.deepEqual(reported(error), { code, stdout: "", stderr: `${error.message}\n` });
    });
  }

  const unforeseen = [
    new Error("a bug"),
    new TypeError("a bug"),
    new RangeError("a bug"),
    new SyntaxError("a bug"),
    new ReferenceError("a bug"),
    new ZodError([]),
  ];
  for (const error of unforeseen) {
    it(`shows where ${error.name} comes from, which nobody foresaw`, () => {
      const { code, stderr } = reported(error);
      assert.equal(code, 1);
      assert.match(stderr, /\n {4}at .*report\.test/);
    });
  }

  it("says what is thrown and is no error", () => {
    const { code, stderr } = reported("just text");
    assert.equal(code, 1);
    assert.match(stderr, /^Error: just text\n/);
  });

  it("is one line of JSON on stdout where that is asked for, without a stack trace", () => {
    for (const [error, exitCode] of [...foreseen, [new Error("a bug"), 1] as const]) {
      const { code, stdout, stderr } = reported(error, true);
      assert.deepEqual([code, stderr], [exitCode, ""]);
      assert.equal(stdout.indexOf("\n"), stdout.length - 1);
      const { time, ...rest } = JSON.parse(stdout);
      assert.equal(new Date(time).toISOString(), time);
      assert.deepEqual(rest, { event: "error", error: error.name, message: error.message, exitCode });
    }
  });

  it("says that an interrupted command can go on, and gives 130", () => {
    const interrupted = new DOMException("interrupted", "AbortError");
    const { code, stdout, stderr } = reported(interrupted);
    assert.deepEqual([code, stdout], [130, ""]);
    assert.match(stderr, /^interrupted; .*the same command goes on from there\n$/);
    const inJson = reported(interrupted, true);
    assert.deepEqual([inJson.code, inJson.stderr], [130, ""]);
    const { event, error, exitCode } = JSON.parse(inJson.stdout);
    assert.deepEqual([event, error, exitCode], ["error", "Interrupted", 130]);
  });

  it("adds nothing to what the parser of the command line said", () => {
    const unknown = new CommanderError(1, "commander.unknownOption", "error: unknown option '--x'");
    assert.deepEqual(reported(unknown), { code: 2, stdout: "", stderr: "" });
    for (const code of ["commander.helpDisplayed", "commander.version"]) {
      assert.deepEqual(reported(new CommanderError(0, code, "")), { code: 0, stdout: "", stderr: "" });
    }
  });
});
