/** How the requests of a load ended. */
export interface Counts {
  sent: number;
  /** Anything but an answer with status 2xx that names its version. */
  failed: number;
  /** Good answers by the version that gave them. */
  byVersion: Record<string, number>;
  /** Failed requests by their cause. */
  causes: Record<string, number>;
  /** How long each good answer took, in milliseconds. */
  times: number[];
}

/** How one request ended. */
export type Ending = { status: number; body: string } | { error: string };

/** Characters of an answer that tell its cause. */
const SAID_LENGTH = 120;

export function noRequests(): Counts {
  return { sent: 0, failed: 0, byVersion: {}, causes: {}, times: [] };
}

/** Adds one request, which took so many milliseconds, to the counts. */
export function count(counts: Counts, ending: Ending, milliseconds: number): void {
  counts.sent += 1;
  const cause = failureOf(ending);
  if (cause === undefined) {
    const version = versionIn(ending) as string;
    counts.byVersion[version] = (counts.byVersion[version] ?? 0) + 1;
    counts.times.push(milliseconds);
  } else {
    counts.failed += 1;
    counts.causes[cause] = (counts.causes[cause] ?? 0) + 1;
  }
}

/** The version that an answer says it is from; undefined for any other ending. */
export function versionIn(ending: Ending): string | undefined {
  if ("error" in ending) return undefined;
  try {
    const { version } = JSON.parse(ending.body) as { version?: unknown };
    return typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}

/** Whole milliseconds that this share, 0 to 1, of the good answers took at most; 0 without any. */
export function quantile({ times }: Counts, share: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0);
}

function failureOf(ending: Ending): string | undefined {
  if ("error" in ending) return ending.error;
  if (ending.status < 200 || ending.status > 299) return [`status ${ending.status}`, ...saidIn(ending.body)].join(": ");
  return versionIn(ending) === undefined ? "an answer without a version" : undefined;
}

/** The beginning of what came with a status: whoever answers for a service that does not says why. */
function saidIn(body: string): string[] {
  const [line = ""] = body.trim().split("\n");
  return line === "" ? [] : [line.slice(0, SAID_LENGTH)];
}
