import type { Endpoint } from "../../../rollout/demo/load";

/** An answer that takes so long, in lines, two a second: shorter than the time that a service gives its last requests. */
const SECONDS = 3;
const LINES = SECONDS * 2;

/** One answer after the other that takes a while, and how many were cut off. */
export class Streams {
  sent = 0;
  /** Why, for each that did not come to its end. */
  readonly cut: string[] = [];
  private ended = false;
  private readonly asking: Promise<void>;

  constructor(endpoint: Endpoint) {
    this.asking = this.ask(endpoint);
  }

  /** Waits for the last one. */
  async stop(): Promise<this> {
    this.ended = true;
    await this.asking;
    return this;
  }

  private async ask({ url, token }: Endpoint): Promise<void> {
    while (!this.ended) {
      this.sent += 1;
      const began = new Date().toISOString();
      try {
        const headers = { authorization: `Bearer ${token}` };
        const response = await fetch(`${url}/stream?seconds=${SECONDS}`, { headers });
        const lines = (await response.text()).trimEnd().split("\n");
        if (!response.ok || lines.length !== LINES)
          this.cut.push(`${began}: ${response.status}, ${lines.length} lines`);
      } catch (error) {
        this.cut.push(`${began}: ${(error as Error).message}`);
      }
    }
  }
}
