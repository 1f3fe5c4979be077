import { Agent, request } from "node:http";
import { type Counts, count, type Ending, noRequests } from "./counts";

/** Where requests go; the token stays in this process. */
export interface Endpoint {
  url: string;
  token: string | undefined;
}

/** Long enough to tell a slow answer from none on a machine that is busy starting a cluster. */
const timeoutMs = 30_000;

const texts = [
  "The ferry leaves at noon and comes back in the evening.",
  "Der Zug nach Hamburg fährt heute von einem anderen Gleis.",
  "Le marché ouvre tous les samedis devant la mairie.",
  "El museo cierra los lunes y abre el resto de la semana.",
  "La biblioteca è aperta fino alle otto di sera.",
  "De fiets staat al de hele week bij het station.",
];

/** One request; never throws. */
export function ask(
  endpoint: Endpoint,
  text: string,
  headers: Record<string, string> = {},
  agent?: Agent,
): Promise<Ending> {
  const body = JSON.stringify({ text });
  return new Promise((resolve) => {
    const sent = request(
      endpoint.url,
      {
        method: "POST",
        ...(agent === undefined ? {} : { agent }),
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(body),
          ...(endpoint.token === undefined ? {} : { authorization: `Bearer ${endpoint.token}` }),
          ...headers,
        },
      },
      (response) => {
        let answer = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          answer += part;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: answer }));
        response.on("error", fail);
      },
    );
    const fail = (error: NodeJS.ErrnoException) => {
      const timedOut = error.name === "TimeoutError" || error.name === "AbortError";
      resolve({ error: timedOut ? `no answer within ${timeoutMs / 1000} s` : (error.code ?? error.message) });
    };
    sent.on("error", fail);
    sent.end(body);
  });
}

/**
 * A steady load: requests leave at their times whether or not the earlier ones were answered, so that a service that
 * stalls is not spared.
 */
export class Load {
  readonly counts: Counts = noRequests();
  private readonly agent = new Agent({ keepAlive: true });
  private readonly open = new Set<Promise<void>>();
  private readonly began = Date.now();
  private readonly timer: NodeJS.Timeout;
  private started = 0;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly perSecond: number,
  ) {
    this.timer = setInterval(() => this.sendDue(), 1000 / perSecond);
  }

  /** Sends nothing more and waits for the answers to what was sent. */
  async stop(): Promise<Counts> {
    clearInterval(this.timer);
    await Promise.all(this.open);
    this.agent.destroy();
    return this.counts;
  }

  private sendDue(): void {
    const due = Math.floor(((Date.now() - this.began) / 1000) * this.perSecond);
    for (; this.started < due; this.started += 1) {
      const text = texts[this.started % texts.length] as string;
      const began = performance.now();
      const sent = ask(this.endpoint, text, {}, this.agent).then((ending) => {
        count(this.counts, ending, performance.now() - began);
      });
      this.open.add(sent);
      void sent.finally(() => this.open.delete(sent));
    }
  }
}
