import type { PastRollout } from "../pastRollouts";
import { oneLine } from "./lines";

/** Text for people: one line a rollout, and where it was taken back by itself the reason on the next. */
export function historyLines(rollouts: readonly PastRollout[]): string[] {
  if (rollouts.length === 0) return ["No rollouts yet."];
  const rows = rollouts.map((rollout) => ({
    cells: [timeOf(rollout.startedAt), versionsOf(rollout), outcomeOf(rollout), durationOf(rollout)],
    rest: [
      `${rollout.updates} update${rollout.updates === 1 ? "" : "s"}`,
      ...(rollout.surge === undefined ? [] : [`surge ${rollout.surge}%`]),
      ...(rollout.kind === "update" && rollout.message !== "" ? [oneLine(rollout.message)] : []),
    ].join(", "),
    reason: rollout.reason,
  }));
  const widths = rows[0]!.cells.map((_, column) => Math.max(...rows.map(({ cells }) => cells[column]!.length)));
  return rows.flatMap(({ cells, rest, reason }) => [
    [...cells.map((cell, column) => (column === 3 ? cell.padStart(widths[3]!) : cell.padEnd(widths[column]!))), rest]
      .join("  ")
      .trimEnd(),
    ...(reason === undefined ? [] : [`    ${oneLine(reason)}`]),
  ]);
}

/** Whole seconds, in UTC. */
const timeOf = (time: string) => `${new Date(time).toISOString().slice(0, 19)}Z`;

const durationOf = ({ seconds }: PastRollout) => (seconds === undefined ? "" : `${Math.round(seconds)} s`);

function versionsOf({ kind, from, to }: PastRollout): string {
  if (kind === "rollout" || kind === "inPlace") return `${from ?? "?"} -> ${to ?? "?"}`;
  return to ?? from ?? "?";
}

function outcomeOf({ kind, outcome, traffic }: PastRollout): string {
  if (kind === "rollout") return rolloutOutcome(outcome, traffic);
  const what = { firstDeploy: "first deploy", inPlace: "in place", update: "update", terminated: "terminated" }[kind];
  return outcome === "completed" ? what : `${what}: ${outcome === "failed" ? "failed" : "under way"}`;
}

function rolloutOutcome(outcome: PastRollout["outcome"], traffic: number | undefined): string {
  const at = traffic === undefined ? "" : ` at ${traffic}%`;
  switch (outcome) {
    case "completed":
      return "completed";
    case "rolledBack":
      return "rolled back";
    case "held":
      return `held${at}`;
    case "failed":
      return `failed${at}`;
    case "underWay":
      return `under way${at}`;
  }
}
