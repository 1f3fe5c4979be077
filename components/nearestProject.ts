import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** Environment variable by which the driver tells the program its project's folder. */
export const projectVariable = "RAYSHIFT_PROJECT";

/** Config key by which a generated project tells the program its folder, whoever runs the update. */
export const projectKey = "projectFolder";

/** The nearest folder with a Pulumi.yaml, at or above `folder`. */
export function nearestProject(folder: string): string | undefined {
  for (let here = resolve(folder); ; here = dirname(here)) {
    if (existsSync(join(here, "Pulumi.yaml"))) return here;
    if (dirname(here) === here) return undefined;
  }
}
