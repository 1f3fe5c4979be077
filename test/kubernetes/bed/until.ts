import { setTimeout as sleep } from "node:timers/promises";
import { ApiError } from "./api";
import type { Processes } from "./processes";

const POLL_MS = 100;

/**
 * Asks again and again until there is an answer; what the API server refuses or cannot take yet counts as none.
 *
 * @param what for the error
 * @param processes of the bed: when one of them ends there will be no answer
 * @throws an error with the last refusal when the time is over, or with the log of a program that ended
 */
export async function until<T>(
  what: string,
  seconds: number,
  answer: () => Promise<T | undefined> | T | undefined,
  processes?: Processes,
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (let refusal = ""; ; ) {
    try {
      const given = await answer();
      if (given !== undefined) return given;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (!(error instanceof ApiError) && code === undefined) throw error;
      refusal = `: ${(error as Error).message}`;
    }
    processes?.assertRunning();
    if (Date.now() >= end) throw new Error(`${what} did not come within ${seconds} s${refusal}`);
    await sleep(POLL_MS);
  }
}
