#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { InvalidInput } from "../../components/problems";
import { report } from "../cli/report";
import { viewFor } from "../cli/views";
import { type Address, addressOfService, demoStack, runDemo, versions } from "./demo";
import { brokenPromises } from "./summary";
import { summaryLines } from "./table";

const leastRps = 50;

async function main(): Promise<void> {
  const command = new Command("npm start --")
    .description(
      "Deploys a service on this machine, rolls out a good version and one that cannot start, and measures it.",
    )
    .option("--rps <requests>", `requests a second, ${leastRps} or more`, "52")
    .option("--json", "one event a line, and the summary as the last one")
    .exitOverride();
  try {
    const flags = command.parse().opts<{ rps: string; json?: true }>();
    process.exitCode = await demonstrate(rpsOf(flags.rps), flags.json === true, interrupted());
  } catch (error) {
    process.exitCode = report(error, process.argv.includes("--json"));
    if (error instanceof CommanderError || process.exitCode === 2) return;
    process.stderr.write(
      `What runs goes on running. See it: ${rayshift("status")}. End it: ${rayshift("terminate")}\n`,
    );
  }
}

/** Aborted by Ctrl-C or a termination request; a second one ends the process at once. */
function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => controller.abort(new DOMException("interrupted", "AbortError")));
  }
  return controller.signal;
}

async function demonstrate(rps: number, json: boolean, signal: AbortSignal): Promise<number> {
  const view = viewFor(json);
  const summary = await runDemo({ rps, onEvent: view.onEvent, signal }).finally(() => view.close());
  const address = await addressOfService(signal);
  const problems = brokenPromises(summary, versions);
  if (json) {
    const { url, dashboardUrl } = address;
    const time = new Date().toISOString();
    print([JSON.stringify({ time, event: "summary", ...summary, problems, url, dashboardUrl })]);
  } else {
    print(["", ...summaryLines(summary), ...problems.map((problem) => `NOT AS IT SHOULD BE: ${problem}`), ""]);
    print(farewellLines(address));
  }
  return problems.length === 0 ? 0 : 1;
}

function farewellLines({ url, token, dashboardUrl, dashboardTokenFile }: Address) {
  const bearer = token === undefined ? "" : `-H "Authorization: Bearer ${token}" `;
  return [
    "The service keeps running. Ask it:",
    `  curl ${bearer}-d '{"text": "Guten Morgen, wie geht es dir?"}' ${url}`,
    `Its token, when you need it again: npm run pulumi -- stack output queryAuthToken --show-secrets -s ${demoStack}`,
    `Ray's dashboard: ${dashboardUrl} (it asks for the token in ${dashboardTokenFile})`,
    `What runs: ${rayshift("status")}`,
    `End it: ${rayshift("terminate")}`,
  ];
}

const rayshift = (command: string) => `npm run rayshift -- ${command} -s ${demoStack}`;
const print = (lines: string[]) => process.stdout.write(lines.map((line) => `${line}\n`).join(""));

function rpsOf(text: string): number {
  const rps = Number(text);
  if (Number.isInteger(rps) && rps >= leastRps && rps <= 1000) return rps;
  const rule = `must be a whole number from ${leastRps} to 1000`;
  throw new InvalidInput([{ path: "--rps", value: text, rule, remedy: "leave it out for 52" }], "command line");
}

void main();
