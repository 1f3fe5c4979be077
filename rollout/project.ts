import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parse, stringify } from "yaml";
import { generatedFolder, homeOf } from "../components/local/host";
import { nearestProject, projectKey } from "../components/nearestProject";

/** Where a stack's program, config and tools are. */
export interface Project {
  /** Name in Pulumi.yaml: the namespace of the config. */
  name: string;
  /** Folder of Pulumi.yaml; relative paths in the config start here. */
  folder: string;
  /** Name of the stack. */
  stack: string;
  /** Pulumi.<stack>.yaml */
  configFile: string;
  /** Folder of tools, packages and the local backend. */
  home: string;
}

/** Root of the installed package, which holds the program and the provider. */
export const packageRoot = resolve(__dirname, "..", "..");

/**
 * The project that `folder` is in: the nearest Pulumi.yaml at or above it. Where there is none, one that runs the
 * program of this package is kept in `.rayshift/project`, with the stack's config in `folder` itself.
 */
export function openProject({
  folder = process.cwd(),
  stack = "dev",
}: {
  folder?: string;
  stack?: string;
} = {}): Project {
  const own = nearestProject(folder) ?? generatedProject(folder);
  const settings = parse(readFileSync(join(own, "Pulumi.yaml"), "utf8")) as { name: string; stackConfigDir?: string };
  return {
    name: settings.name,
    folder: own,
    stack,
    configFile: join(own, settings.stackConfigDir ?? "", `Pulumi.${stack}.yaml`),
    home: homeOf(own),
  };
}

function generatedProject(folder: string): string {
  const project = resolve(folder, generatedFolder);
  mkdirSync(project, { recursive: true, mode: 0o700 });
  const original = parse(readFileSync(join(packageRoot, "Pulumi.yaml"), "utf8"));
  // Relative paths are walked from where the folder really is, whatever link it was named by.
  const program = relative(realpathSync(project), packageRoot);
  const settings = {
    ...original,
    main: join(program, original.main),
    config: { ...original.config, [projectKey]: { type: "string", default: project } },
    stackConfigDir: "../..",
    plugins: { providers: [{ name: "rayserve", path: join(program, "provider", "bin") }] },
  };
  // The home holds a passphrase and state: nothing of it belongs into the user's repository.
  keepFile(join(project, "..", ".gitignore"), "*\n");
  keepFile(join(project, "Pulumi.yaml"), stringify(settings));
  return project;
}

/** Other commands may read the file at any moment, so it is left alone when it is right, and never there in part. */
function keepFile(file: string, text: string): void {
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  const draft = `${file}.${process.pid}.tmp`;
  writeFileSync(draft, text);
  renameSync(draft, file);
}
