#!/usr/bin/env node
import { program } from "./program";
import { report } from "./report";

/** The only place that ends the process: commands return, libraries throw. */
async function main(): Promise<void> {
  try {
    await program().parseAsync();
  } catch (error) {
    process.exitCode = report(error, process.argv.includes("--json"));
  }
}

void main();
