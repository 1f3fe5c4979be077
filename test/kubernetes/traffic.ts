import { setTimeout as sleep } from "node:timers/promises";

/** Answers by the version that gave them, or by their status, or by the error in place of one. */
export type Answers = Record<string, number>;

const TIMEOUT_MS = 30_000;
/** One of so many requests is a slow one, as those are that a cluster's end would cut off. */
const SLOW_EVERY = 5;
const SLOW_SECONDS = 1.5;

/** Requests to a service at an even rate, whatever the answers take; each is counted. */
export class Traffic {
  private readonly answers: Answers = {};
  private readonly open = new Set<Promise<void>>();
  private readonly sending: Promise<void>;
  private ended = false;

  constructor(
    private readonly url: string,
    private readonly headers: Record<string, string>,
    private readonly perSecond = 20,
  ) {
    this.sending = this.send();
  }

  /** Ends it, with every request answered. */
  async stop(): Promise<Answers> {
    this.ended = true;
    await this.sending;
    await Promise.all(this.open);
    return this.answers;
  }

  private async send(): Promise<void> {
    const began = Date.now();
    for (let sent = 0; !this.ended; sent++) {
      const path = sent % SLOW_EVERY === 0 ? `/?seconds=${SLOW_SECONDS}` : "/";
      const request: Promise<void> = askVersion(this.url + path, this.headers).then((answer) => {
        this.answers[answer] = (this.answers[answer] ?? 0) + 1;
        this.open.delete(request);
      });
      this.open.add(request);
      await sleep(Math.max(0, began + ((sent + 1) * 1000) / this.perSecond - Date.now()));
    }
  }
}

/** Which version answers; the status where it is no success, the error where nothing answers. */
export async function askVersion(url: string, headers: Record<string, string>): Promise<string> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    return response.ok ? (JSON.parse(text) as { version: string }).version : String(response.status);
  } catch (error) {
    const { message, cause } = error as Error & { cause?: Error };
    return cause?.message ?? message;
  }
}

/** How many of so many requests each version answers. */
export async function countAnswers(url: string, headers: Record<string, string>, requests: number): Promise<Answers> {
  const answers: Answers = {};
  for (let sent = 0; sent < requests; sent++) {
    const answer = await askVersion(url, headers);
    answers[answer] = (answers[answer] ?? 0) + 1;
  }
  return answers;
}
