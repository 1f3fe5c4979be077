import { type SpawnOptions, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** The project's folder, seen from the compiled test. */
export const root = projectAbove(__dirname);

function projectAbove(folder: string): string {
  return existsSync(join(folder, "package.json")) ? folder : projectAbove(dirname(folder));
}

/** Loads a module of set-up, which is JavaScript; `Module` says what the test uses of it. */
export async function importSetup<Module>(name: string): Promise<Module> {
  return (await import(pathToFileURL(join(root, "setup", name)).href)) as Module;
}

/** Gives every test of a suite a folder of its own, removed afterwards. */
export function temporaryFolder(): () => string {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-setup-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  return () => folder;
}

/** Writes an executable shell script. */
export function writeScript(file: string, body: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
}

/** Installs set-up the way a package is: in the node_modules of a project in `folder`, without lock file and sources. Gives the package's folder. */
export function installPackage(folder: string): string {
  const installed = join(folder, "node_modules", "rayshift");
  mkdirSync(installed, { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}");
  cpSync(join(root, "setup"), join(installed, "setup"), { recursive: true });
  cpSync(join(root, "package.json"), join(installed, "package.json"));
  return installed;
}

/** A folder for PATH with Node as the only program. */
export function onlyNode(folder: string): string {
  const bin = join(folder, "only-node");
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, "node"));
  return bin;
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

/** Runs Node to its end; `started` sees the process and what it printed so far. */
export function runNode(
  args: string[],
  options: SpawnOptions = {},
  started?: (pid: number, stdout: string) => void,
): Promise<Ended> {
  const startedAt = Date.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (data) => {
      stdout += data;
      started?.(child.pid!, stdout);
    });
    child.stderr?.on("data", (data) => {
      stderr += data;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr, seconds: (Date.now() - startedAt) / 1000 }));
  });
}
