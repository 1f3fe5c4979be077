/** Set-up could not go on. `message` says what is wrong, `remedy` what to do; exit code 2 = something must be there first, 1 = a step failed. */
export class SetupError extends Error {
  /** @param {string} message @param {{remedy: string, exitCode?: 1 | 2, output?: string}} details `output`: the last lines of the program that failed */
  constructor(message, { remedy, exitCode = 1, output = "" }) {
    super(message);
    this.name = "SetupError";
    this.remedy = remedy;
    this.exitCode = exitCode;
    this.output = output;
  }
}

/** What a person reads about a failure, or about all of several (an AggregateError). */
export function describeFailure(error) {
  if (error instanceof AggregateError) return error.errors.map(describeFailure).join("\n");
  if (!(error instanceof SetupError)) return `set-up failed: ${error instanceof Error ? error.message : String(error)}`;
  const output = error.output.trim();
  return [
    `set-up failed: ${error.message}`,
    ...(output === "" ? [] : [output.replace(/^/gm, "  | ")]),
    `  what to do: ${error.remedy}`,
  ].join("\n");
}

/** The exit code for a failure of set-up. */
export function exitCodeOf(error) {
  if (error instanceof AggregateError) return Math.max(...error.errors.map(exitCodeOf));
  return error instanceof SetupError ? error.exitCode : 1;
}

const plainIntervalSeconds = 30;

/**
 * Tells how set-up goes: on a terminal one line whose seconds count up, elsewhere a line now and then.
 * `quiet` holds the lines about reused parts back until something really has to be done.
 */
export class Progress {
  /** @param {{stream: NodeJS.WriteStream, quiet: boolean}} options */
  constructor({ stream, quiet }) {
    this.stream = stream;
    this.terminal = stream.isTTY === true;
    this.quiet = quiet;
    this.held = [];
    this.startedAt = Date.now();
    /** When each title that is under way began, in milliseconds. */
    this.underWay = new Map();
  }

  /** @param {string} title @param {string} detail what was reused */
  reused(title, detail) {
    const line = `${title}: reused, ${detail}`;
    if (this.quiet) this.held.push(line);
    else this.line(line);
  }

  /**
   * Shows that `title` is under way until `work` ends; several may be at the same time.
   * @param {string} title @param {string} expected how long it may take @param {(note: (text: string) => void) => Promise<string>} work returns what was done
   */
  async during(title, expected, work) {
    this.release();
    const startedAt = Date.now();
    this.line(`${title}: ${expected}`);
    this.begin(title, startedAt);
    try {
      const done = await work((text) => this.line(`${title}: ${text}`));
      this.line(`${title}: done in ${secondsSince(startedAt)} s, ${done}`);
    } finally {
      this.end(title);
    }
  }

  begin(title, startedAt) {
    this.underWay.set(title, startedAt);
    const tick = () => this.stream.write(this.terminal ? `\r\x1b[K  ${this.standing()}` : `  ${this.standing()}\n`);
    this.ticker ??= setInterval(tick, this.terminal ? 1000 : plainIntervalSeconds * 1000);
  }

  end(title) {
    this.underWay.delete(title);
    this.clear();
    if (this.underWay.size > 0) return;
    clearInterval(this.ticker);
    this.ticker = undefined;
  }

  standing() {
    return [...this.underWay].map(([title, startedAt]) => `${title}: ${secondsSince(startedAt)} s`).join(", ");
  }

  /** @param {string} text */
  finish(text) {
    this.line(`${text} (${((Date.now() - this.startedAt) / 1000).toFixed(1)} s)`);
  }

  release() {
    for (const line of this.held.splice(0)) this.line(line);
    this.quiet = false;
  }

  line(text) {
    this.clear();
    this.stream.write(`${text}\n`);
  }

  /** Takes back the line whose seconds count up. */
  clear() {
    if (this.terminal && this.ticker !== undefined) this.stream.write("\r\x1b[K");
  }
}

const secondsSince = (milliseconds) => Math.round((Date.now() - milliseconds) / 1000);
