import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { root } from "../../setup/support";

const manifest = readFileSync(require.resolve("@pulumi/kubernetes/package.json"), "utf8");
/** Of the plugin that the program asks for. */
export const pluginVersion = (JSON.parse(manifest) as { version: string }).version;

/** Folder of the fake plugin of @pulumi/kubernetes: for tests that go by what it publishes of its work, and the real one does not. */
export const fakePlugin = join(root, "test", "fake", "bin");

/**
 * The PATH by which the engine finds a plugin of @pulumi/kubernetes: the vendor's release where it is installed, else the one
 * that was built from source.
 *
 * @param plugin folder of the one that was built, or {@link fakePlugin}, which is taken in any case
 */
export function pluginPath(environment: NodeJS.ProcessEnv, plugin: string): string {
  const others = (environment.PATH ?? "").split(delimiter).filter((folder) => ![fakePlugin, plugin].includes(folder));
  // The engine takes a plugin on the PATH in place of one that is installed.
  const found = plugin !== fakePlugin && isInstalled(environment) ? [] : [plugin];
  return [...found, ...others].join(delimiter);
}

function isInstalled({ PULUMI_HOME = join(homedir(), ".pulumi") }: NodeJS.ProcessEnv): boolean {
  return existsSync(join(PULUMI_HOME, "plugins", `resource-kubernetes-v${pluginVersion}`));
}
