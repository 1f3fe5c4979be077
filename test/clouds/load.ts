import { setTimeout as sleep } from "node:timers/promises";
import { type Answers, askVersion } from "../answers";
import type { CloudProject } from "./project";

const PAUSE_MS = 50;

/** Asks the project's service until told to stop; how often each version answered, and what was no answer. */
export async function load(project: CloudProject): Promise<() => Promise<Answers>> {
  const { url, queryAuthToken } = await project.outputs();
  const answers: Answers = {};
  let ended = false;
  const asking = (async () => {
    while (!ended) {
      const answer = await askVersion(url, { authorization: `Bearer ${queryAuthToken}` });
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
