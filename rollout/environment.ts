import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Project, packageRoot } from "./project";

interface SetUp {
  readToolchain(home: string): object | undefined;
  environmentOf(home: string, toolchain: object, environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv;
}

/**
 * The environment that the CLI and the program run in: the tools that the set-up recorded in the project's home, and
 * its local backend where the user chose none. The user's own environment where nothing was set up.
 */
export async function environmentFor(
  project: Project,
  own: NodeJS.ProcessEnv = process.env,
): Promise<NodeJS.ProcessEnv> {
  const script = join(packageRoot, "setup", "environment.mjs");
  if (!existsSync(script)) return own;
  const setUp = (await import(pathToFileURL(script).href)) as SetUp;
  const toolchain = setUp.readToolchain(project.home);
  return toolchain === undefined ? own : setUp.environmentOf(project.home, toolchain, own);
}
