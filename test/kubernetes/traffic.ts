import { setTimeout as sleep } from "node:timers/promises";
import { type Answers, askVersion } from "../answers";

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
