#!/usr/bin/env node
// Brings everything rayshift needs into place. It runs before the Node packages are there, so it uses Node alone.
import { describeFailure, exitCodeOf } from "./progress.mjs";
import { setUp } from "./steps.mjs";

try {
  await setUp({ env: process.env, quiet: false, stream: process.stderr });
} catch (error) {
  process.stderr.write(`${describeFailure(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
