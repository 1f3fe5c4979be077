import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { root } from "../../setup/support";

const manifest = readFileSync(require.resolve("@pulumi/kubernetes/package.json"), "utf8");
/** Of the plugin that the program asks for. */
export const pluginVersion = (JSON.parse(manifest) as { version: string }).version;

const fakes = join(root, "test", "fake", "bin");

/**
 * The PATH by which the engine finds a plugin of @pulumi/kubernetes: the real one where it is installed, else its fake.
 *
 * @param withEffects for tests that go by what the fake publishes of its work, and the real one does not
 */
export function pluginPath(environment: NodeJS.ProcessEnv, withEffects = false): string {
  const others = (environment.PATH ?? "").split(delimiter).filter((folder) => folder !== fakes);
  // The engine takes a plugin on the PATH in place of one that is installed.
  return (withEffects || !isInstalled(environment) ? [fakes, ...others] : others).join(delimiter);
}

function isInstalled({ PULUMI_HOME = join(homedir(), ".pulumi") }: NodeJS.ProcessEnv): boolean {
  return existsSync(join(PULUMI_HOME, "plugins", `resource-kubernetes-v${pluginVersion}`));
}
