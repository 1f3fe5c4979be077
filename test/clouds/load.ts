import { setTimeout as sleep } from "node:timers/promises";

const PAUSE_MS = 50;

/** Asks a service until told to stop; how often each version answered, and what was no answer. */
export function load(url: string, queryAuthToken: string): () => Promise<Record<string, number>> {
  const answers: Record<string, number> = {};
  let ended = false;
  const asking = (async () => {
    while (!ended) {
      const answer = await answerOf(url, { authorization: `Bearer ${queryAuthToken}` });
      answers[answer] = (answers[answer] ?? 0) + 1;
      await sleep(PAUSE_MS);
    }
  })();
  return async () => {
    ended = true;
    await asking;
    return answers;
  };
}

/** The version that answers, else the status, else why there is none. */
export async function answerOf(url: string, headers: Record<string, string>): Promise<string> {
  try {
    const response = await fetch(url, { headers, redirect: "manual" });
    return response.ok ? ((await response.json()) as { version: string }).version : `${response.status}`;
  } catch (error) {
    return (error as Error).message;
  }
}
