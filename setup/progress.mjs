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

/** What a person reads about a failure. */
export function describeFailure(error) {
  if (!(error instanceof SetupError)) return `set-up failed: ${error instanceof Error ? error.message : String(error)}`;
  const output = error.output.trim();
  return [
    `set-up failed: ${error.message}`,
    ...(output === "" ? [] : [output.replace(/^/gm, "  | ")]),
    `  what to do: ${error.remedy}`,
  ].join("\n");
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
    this.quiet = quiet;
    this.held = [];
    this.startedAt = Date.now();
  }

  /** @param {string} title @param {string} detail what was reused */
  reused(title, detail) {
    const line = `${title}: reused, ${detail}`;
    if (this.quiet) this.held.push(line);
    else this.line(line);
  }

  /**
   * Shows that `title` is under way until `work` ends.
   * @param {string} title @param {string} expected how long it may take @param {(note: (text: string) => void) => Promise<string>} work returns what was done
   */
  async during(title, expected, work) {
    this.release();
    const startedAt = Date.now();
    const seconds = () => Math.round((Date.now() - startedAt) / 1000);
    this.line(`${title}: ${expected}`);
    const terminal = this.stream.isTTY === true;
    const tick = setInterval(
      () => {
        if (terminal) this.stream.write(`\r\x1b[K  ${seconds()} s`);
        else this.stream.write(`  still at work after ${seconds()} s\n`);
      },
      terminal ? 1000 : plainIntervalSeconds * 1000,
    );
    const clear = () => terminal && this.stream.write("\r\x1b[K");
    try {
      const done = await work((text) => {
        clear();
        this.line(`  ${text}`);
      });
      clear();
      this.line(`  done in ${seconds()} s: ${done}`);
    } catch (error) {
      clear();
      throw error;
    } finally {
      clearInterval(tick);
    }
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
    this.stream.write(`${text}\n`);
  }
}
