import { InvalidInput } from "../components/problems";
import { type HistoryEntry, type PastRollout, pastRollouts } from "./pastRollouts";
import { openSession, type SessionOptions } from "./session";

export interface HistoryOptions extends SessionOptions {
  /** Most rollouts to tell, 10 when absent. */
  maxItems?: number | string | undefined;
}

/** Updates that are read at a time. */
const pageSize = 100;

/**
 * Past rollouts of the stack, newest first, from its own history. Changes nothing, and reads no secrets.
 *
 * @throws InvalidInput for a count that is none
 */
export async function history({ maxItems = 10, ...options }: HistoryOptions): Promise<PastRollout[]> {
  const most = countOf(maxItems);
  const { stack, project, signal } = await openSession(options);
  const entries: HistoryEntry[] = [];
  for (let page = 1; ; page += 1) {
    const next = await stack.history({ page, pageSize }, signal);
    entries.push(...next);
    const rollouts = pastRollouts(entries, project.name);
    // The oldest one may have begun on a page that was not read.
    if (next.length < pageSize || rollouts.length > most) return rollouts.slice(0, most);
  }
}

function countOf(value: number | string): number {
  const count = Number(value);
  if (Number.isInteger(count) && count > 0) return count;
  const rule = "must be a whole number above 0";
  throw new InvalidInput([{ path: "--max-items", value, rule, remedy: "give for example 10" }], "command line");
}
