import { CommanderError } from "commander";
import { exitCodeOf } from "../errors";

/**
 * Says what went wrong, for people on stderr or as a last JSON line on stdout, and gives the exit code. Only what
 * nobody foresaw comes with a stack trace.
 */
export function report(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const thrown = error instanceof Error ? error : new Error(String(error));
  if (thrown.name === "AbortError") return interrupted(json);
  const code = exitCodeOf(thrown);
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ time: new Date().toISOString(), event: "error", error: thrown.name, message: thrown.message, exitCode: code })}\n`,
    );
  } else {
    process.stderr.write(`${isForeseen(thrown) ? thrown.message : (thrown.stack ?? thrown.message)}\n`);
  }
  return code;
}

/** What is thrown on purpose has a name of its own; the language's names, and that of a broken record, are bugs'. */
function isForeseen({ name }: Error): boolean {
  return !/^(|Eval|Range|Reference|Syntax|Type|URI|Zod|Assertion)Error$/.test(name);
}

const interruptedCode = 130;

function interrupted(json: boolean): number {
  const message = "interrupted; the service stays as it stands, and the same command goes on from there";
  if (json)
    process.stdout.write(
      `${JSON.stringify({ time: new Date().toISOString(), event: "error", error: "Interrupted", message, exitCode: interruptedCode })}\n`,
    );
  else process.stderr.write(`${message}\n`);
  return interruptedCode;
}
