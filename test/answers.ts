/** Answers by the version that gave them, or by their status, or by the error in place of one. */
export type Answers = Record<string, number>;

const TIMEOUT_MS = 30_000;

/** Which version answers; the status where it is no success, the error where nothing answers. */
export async function askVersion(url: string, headers: Record<string, string>): Promise<string> {
  try {
    const response = await fetch(url, { headers, redirect: "manual", signal: AbortSignal.timeout(TIMEOUT_MS) });
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
