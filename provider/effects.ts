import { channel } from "node:diagnostics_channel";

/** One effect on the world outside this process, about to happen or just done. */
export interface Effect {
  /** What is done, the same words each time. */
  name: string;
  /** To what, for people. */
  detail: string;
  when: "before" | "after";
}

/** Every effect is published here, so that it can be listed or broken off at each instant. Without a subscriber it costs nothing. */
export const effectChannel = "rayshift:effect";

const effects = channel(effectChannel);

/** Runs what has an effect. One that fails is not published as done. */
export async function effect<T>(name: string, detail: string, run: () => Promise<T>): Promise<T> {
  effects.publish({ name, detail, when: "before" } satisfies Effect);
  const result = await run();
  effects.publish({ name, detail, when: "after" } satisfies Effect);
  return result;
}

/** The same for an effect that nothing is waited for. */
export function effectNow<T>(name: string, detail: string, run: () => T): T {
  effects.publish({ name, detail, when: "before" } satisfies Effect);
  const result = run();
  effects.publish({ name, detail, when: "after" } satisfies Effect);
  return result;
}
