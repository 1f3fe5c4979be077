import assert from "node:assert/strict";
import type { Command } from "../sim/schedule";

/** A command that is broken off, with the service that it finds and the one that it is to leave. */
export interface Scenario {
  name: string;
  /** Commands that lead there, after the first deploy; absent: not even that was given. */
  before?: (canary: string) => Command[];
  command: (canary: string) => Command;
  /** Which version runs alone in the end; `neither` when the service has ended. */
  leaves: "primary" | "canary" | "neither";
  /** What is wrong with the canary: its replicas fail to start, or become unhealthy once half of the requests are theirs. */
  canary?: "fails" | "breaks";
}

const deploy =
  (flags: { canaryPercent?: number; maxSurgePercent?: number }) =>
  (version: string): Command => ({ do: "deploy", version, ...flags });
const surge = { maxSurgePercent: 50 };
const alone = () => [];
const held = (canary: string) => [deploy({ ...surge, canaryPercent: 50 })(canary)];

/** Those that the matrix of the real parts has as well. */
export const mainScenarios: readonly Scenario[] = [
  { name: "rollout", before: alone, command: deploy(surge), leaves: "canary" },
  { name: "rollback", before: held, command: () => ({ do: "rollback" }), leaves: "primary" },
  { name: "completion", before: held, command: deploy({ ...surge, canaryPercent: 100 }), leaves: "canary" },
];

export const scenarios: readonly Scenario[] = [
  ...mainScenarios,
  { name: "first deploy", command: deploy({}), leaves: "canary" },
  { name: "rollout by the ladder", before: alone, command: deploy({}), leaves: "canary" },
  {
    name: "rollback without a surge",
    before: (canary) => [deploy({ canaryPercent: 50 })(canary)],
    command: () => ({ do: "rollback" }),
    leaves: "primary",
  },
  { name: "failing canary under a surge", before: alone, command: deploy(surge), leaves: "primary", canary: "fails" },
  { name: "failing canary without a surge", before: alone, command: deploy({}), leaves: "primary", canary: "fails" },
  { name: "way back at once", before: alone, command: deploy(surge), leaves: "primary", canary: "breaks" },
  {
    name: "way back by waypoints",
    before: alone,
    command: deploy({ ...surge, canaryPercent: 75 }),
    leaves: "primary",
    canary: "breaks",
  },
  { name: "way back without a surge", before: alone, command: deploy({}), leaves: "primary", canary: "breaks" },
  { name: "end of the service", before: held, command: () => ({ do: "terminate" }), leaves: "neither" },
];

/** A command as somebody types it. */
export function argumentsOf(command: Command, serviceFile: (version: string) => string): string[] {
  const { do: verb } = command;
  if (verb !== "deploy" && verb !== "rollback") return [verb];
  const { maxSurgePercent } = command;
  const limit = maxSurgePercent === undefined ? [] : ["--max-surge-percent", String(maxSurgePercent)];
  if (command.do !== "deploy") return [verb, ...limit];
  const { canaryPercent, retry, version } = command;
  const percent = canaryPercent === undefined ? [] : ["--canary-percent", String(canaryPercent)];
  return [verb, "-f", serviceFile(version), ...limit, ...percent, ...(retry ? ["--retry"] : [])];
}

/** That the effects of a run are those of the driver, the engine, a cluster, Serve and the load balancer. */
export function assertEffectsOfAllParts(effects: ReadonlySet<string>): void {
  for (const name of ["write the stack's config", "pulumi up", "start a head", "PUT Serve config", "HAProxy command"]) {
    assert.ok(effects.has(name), `${name} is not among ${[...effects].join(", ")}`);
  }
}
