import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Project } from "./project";

/**
 * Removes the empty `.attrs` files of a stack in a backend of files. Pulumi writes such a file in place beside each one that
 * it replaces whole; an engine that is killed between the two leaves it empty, and every command then ends with `EOF`. What
 * belongs in it is not needed to read the state.
 *
 * @returns whether there was one
 */
export function removeEmptyAttributes({ name, stack }: Project, environment: NodeJS.ProcessEnv): boolean {
  const backend = environment.PULUMI_BACKEND_URL;
  if (!backend?.startsWith("file:///")) return false;
  const state = join(fileURLToPath(new URL(backend).href.replace(/\?.*$/, "")), ".pulumi");
  const empty = [
    ...attributesIn(join(state, "stacks", name)).filter((file) => file.includes(`/${name}/${stack}.`)),
    ...attributesIn(join(state, "history", name, stack)),
    ...attributesIn(join(state, "locks", "organization", name, stack)),
  ].filter((file) => statSync(file, { throwIfNoEntry: false })?.size === 0);
  for (const file of empty) rmSync(file, { force: true });
  return empty.length > 0;
}

function attributesIn(folder: string): string[] {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.filter((name) => name.endsWith(".attrs")).map((name) => join(folder, name));
}
