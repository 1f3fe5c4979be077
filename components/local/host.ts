import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** What the local target uses of this host. */
export interface LocalHost {
  /** Folder of what outlives a reboot: tools, packages. */
  home: string;
  /** Python executable with Ray. */
  python: string;
  /** HAProxy binary. */
  haproxy: string;
}

/** A tool that the set-up installs is not there. */
export class SetUpIncomplete extends Error {
  override readonly name = "SetUpIncomplete";
}

/** Where the driver keeps a project for a folder that has none; its home is around it. */
export const generatedFolder = join(".rayshift", "project");

/** `RAYSHIFT_HOME`, or `.rayshift` in the project's folder. */
export function homeOf(projectFolder: string, environment: NodeJS.ProcessEnv = process.env): string {
  const own = projectFolder.endsWith(join("/", generatedFolder))
    ? dirname(projectFolder)
    : join(projectFolder, ".rayshift");
  return environment.RAYSHIFT_HOME ?? own;
}

/** The tools that the set-up found or installed: from the environment, else from its record in `home`. */
export function localHost(home: string, environment: NodeJS.ProcessEnv = process.env): LocalHost {
  const record = join(home, "toolchain.json");
  const tools: Partial<LocalHost> = existsSync(record) ? JSON.parse(readFileSync(record, "utf8")) : {};
  const python = environment.RAYSHIFT_PYTHON ?? tools.python;
  const haproxy = environment.RAYSHIFT_HAPROXY ?? tools.haproxy;
  if (python === undefined || haproxy === undefined) {
    const missing = [python === undefined ? "Ray" : [], haproxy === undefined ? "HAProxy" : []].flat().join(" and ");
    throw new SetUpIncomplete(
      `${missing} not set up for ${home}: run \`npx rayshift setup\` (or \`npm run setup\` in a clone)`,
    );
  }
  return { home, python, haproxy };
}

/**
 * Folder of one running part (a cluster, the load balancer), the same for every update of the same stack: a create that
 * was killed is found again. Under /tmp whatever TMPDIR says, because a folder that depended on the caller's environment
 * would be another cluster, and because Unix socket paths under it may have 107 characters at most.
 */
export function runtimeDirectory(identity: { home: string; project: string; stack: string; part: string }): string {
  const { home, project, stack, part } = identity;
  const key = createHash("sha256").update([home, project, stack, part].join("\n")).digest("hex").slice(0, 8);
  return join("/tmp", `rayshift-${process.getuid?.() ?? 0}`, key);
}
