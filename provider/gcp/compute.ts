import { within } from "../within";
import { accessToken } from "./credentials";

/** Google Cloud answered and said no; the message is its own. */
export class ComputeRefused extends Error {
  override readonly name = "ComputeRefused";
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const ENDPOINT = "https://compute.googleapis.com/compute/v1/";
const TIMEOUT_MS = 30_000;

/**
 * One request of Compute Engine's API.
 *
 * @param path below the version, such as `projects/p/zones/z/instances`
 * @throws ComputeRefused, or Error when it cannot be reached
 */
export async function compute<T>(method: "GET" | "DELETE", path: string, signal?: AbortSignal): Promise<T> {
  // The name that Pulumi's own provider knows it by.
  const endpoint = process.env.GOOGLE_COMPUTE_CUSTOM_ENDPOINT ?? ENDPOINT;
  const token = await accessToken(process.env, signal);
  let response: Response;
  try {
    response = await fetch(new URL(path, endpoint.replace(/\/?$/, "/")), {
      method,
      headers: { authorization: `Bearer ${token}` },
      signal: within(TIMEOUT_MS, signal),
    });
  } catch (error) {
    signal?.throwIfAborted();
    const { cause, message } = error as Error & { cause?: Error };
    throw new Error(`Compute Engine cannot be reached at ${endpoint}: ${cause?.message ?? message}`);
  }
  const text = await response.text();
  if (response.ok) return JSON.parse(text) as T;
  throw new ComputeRefused(
    `Compute Engine refused ${method} ${path} (${response.status}): ${saidIn(text)}`,
    response.status,
  );
}

/** Whether there is an object at a path. Throws as {@link compute} does. */
export async function exists(path: string, signal?: AbortSignal): Promise<boolean> {
  try {
    await compute("GET", path, signal);
    return true;
  } catch (error) {
    if (error instanceof ComputeRefused && error.status === 404) return false;
    throw error;
  }
}

function saidIn(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } };
    return error?.message ?? text.trim();
  } catch {
    return text.trim().slice(0, 500);
  }
}
