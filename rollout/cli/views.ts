import type { OnEvent, RolloutEvent } from "../events";
import { clusterLine, eventLines, oneLine } from "./lines";

/** Shows a command's events while it runs. */
export interface View {
  onEvent: OnEvent;
  /** Called once, when the command is over. */
  close(): void;
}

/** JSON lines where asked for, a live view on a terminal, plain lines elsewhere. */
export function viewFor(json: boolean, out: NodeJS.WriteStream = process.stdout): View {
  if (json) return jsonView(out);
  return out.isTTY ? liveView(out) : plainView(out);
}

function jsonView(out: NodeJS.WritableStream): View {
  return {
    onEvent: (event) => out.write(`${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`),
    close: () => {},
  };
}

function plainView(out: NodeJS.WritableStream): View {
  const began = Date.now();
  const clock = () => `${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  `;
  return {
    onEvent: (event) => {
      for (const line of eventLines(event)) out.write(`${clock()}${line}\n`);
    },
    close: () => {},
  };
}

const repaintMs = 250;
const spinner = ["|", "/", "-", "\\"];

/** What is done scrolls by; below it the clusters, the update under way and what it waits for are kept up to date. */
function liveView(out: NodeJS.WriteStream): View {
  const began = Date.now();
  let painted = 0;
  let clusters: string[] = [];
  let update = "";
  let waiting = "";
  const erase = () => {
    if (painted > 0) out.write(`\x1b[${painted}A\x1b[0J`);
    painted = 0;
  };
  const paint = () => {
    erase();
    const turn = spinner[Math.floor(Date.now() / repaintMs) % spinner.length];
    const seconds = ((Date.now() - began) / 1000).toFixed(0);
    const lines = [
      ...clusters,
      ...(update === "" ? [] : [`${turn} ${update}  ${seconds} s`]),
      ...(waiting === "" ? [] : [`  ${waiting}`]),
    ];
    const width = Math.max(20, (out.columns ?? 80) - 1);
    for (const line of lines) out.write(`${line.slice(0, width)}\n`);
    painted = lines.length;
  };
  const timer = setInterval(paint, repaintMs);
  const keep = (event: RolloutEvent) => {
    if (event.event === "status" || event.event === "reached") {
      clusters = [
        clusterLine("primary", event.primary),
        ...(event.canary ? [clusterLine("canary", event.canary)] : []),
      ];
    }
    if (event.event === "update") [update, waiting] = [oneLine(event.message), ""];
    else if (event.event === "reached") [update, waiting] = ["", ""];
    else if (event.event === "progress") waiting = oneLine(`${event.resource}: ${event.message}`);
  };
  return {
    onEvent: (event) => {
      keep(event);
      if (event.event === "progress" || event.event === "update") return;
      erase();
      for (const line of eventLines(event)) out.write(`${line}\n`);
      paint();
    },
    close: () => {
      clearInterval(timer);
      erase();
    },
  };
}
