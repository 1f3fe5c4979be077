import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { FakeHead } from "./head";
import type { FakeTimes } from "./serve";

/**
 * A fake of the Python interpreter with Ray, for RAYSHIFT_PYTHON: `rayshift_head.py CONFIG` becomes a {@link FakeHead},
 * `rayshift_imports.py` finds every import path. It runs no Python at all.
 *
 * @param folder where the executable is made
 * @returns its path, which is an argument of every head that it becomes
 */
export function writeFakePython(folder: string, times: Partial<FakeTimes> = {}): string {
  const file = join(folder, "fake-python");
  const words = [process.execPath, __filename, file, JSON.stringify(times)].map((word) => `'${word}'`);
  writeFileSync(file, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o755 });
  return file;
}

function runHead(file: string, times: Partial<FakeTimes>): void {
  const tokenFile = process.env.RAY_AUTH_TOKEN_PATH;
  if (tokenFile === undefined) throw new Error("RAY_AUTH_TOKEN_PATH is not set");
  let ending = false;
  const head = new FakeHead(JSON.parse(readFileSync(file, "utf8")), tokenFile, times, (reason) => {
    if (ending) return;
    process.stderr.write(`the head ends: ${reason}\n`);
    end(1);
  });
  const end = (code: number) => {
    ending = true;
    head.stop();
    process.exit(code);
  };
  process.once("SIGTERM", () => end(0));
}

function main([_file, times = "{}", ...words]: string[]): void {
  const script = words.findIndex((word) => word.endsWith(".py"));
  const name = basename(words[script] ?? "");
  if (name === "rayshift_imports.py") process.stdin.resume().on("end", () => process.stdout.write("[]"));
  else if (name === "rayshift_head.py") runHead(words[script + 1] ?? "", JSON.parse(times));
  else throw new Error(`the fake Python cannot run ${words.join(" ")}`);
}

if (require.main === module) main(process.argv.slice(2));
