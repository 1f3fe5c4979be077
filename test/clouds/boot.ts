import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runDirectory } from "../../components/cloud/boot";

/** What start scripts call that a test's host has not, or must not do. */
const COMMANDS = ["aws", "curl", "docker", "ray", "shutdown", "reboot", "install", "hostname", "sleep", "chown"];

/** The last call of a run's Ray. */
export const RAY_ENDED = "ray ended";

export interface Booted {
  code: number;
  /** What was called, with the arguments, and {@link RAY_ENDED}. */
  calls: string[];
  /** Of Ray. */
  environment: string;
  /** In place of the run directory. */
  own: string;
}

export interface BootOptions {
  /** What calls print: by how they begin, where a star is any text. */
  answers: Record<string, string>;
  /** Seconds until Ray ends by itself. */
  raySeconds?: number;
  /** Seconds that each sleep takes, however long it is to be. */
  sleepSeconds?: number;
}

/**
 * Runs a machine's start script to its end with a real bash. What it calls is there as scripts that write down how they
 * were called, and the run directory is elsewhere: what a cloud, Docker and Ray make of that is not proven.
 */
export async function boot(script: string, folder: string, options: BootOptions): Promise<Booted> {
  const { answers, raySeconds = 1, sleepSeconds = 0.5 } = options;
  const bin = join(folder, "bin");
  const own = join(folder, "run");
  mkdirSync(bin);
  const said = {
    hostname: "10.0.0.7 172.17.0.1",
    "docker run --rm --entrypoint": String(process.getuid?.() ?? 0),
    ...answers,
  };
  const pattern = (words: string) =>
    words
      .split("*")
      .map((part) => `"${part}"`)
      .concat("")
      .join("*");
  const standIn = [
    "#!/bin/bash",
    `call="$(basename "$0") $*"`,
    `printf '%s\\n' "$call" >>${folder}/calls`,
    `if [ "$(basename "$0")" = ray ]; then`,
    `  env | grep -E '^(RAY|PYTHONPATH)' >${folder}/environment`,
    `  /bin/sleep ${raySeconds}`,
    `  echo ${RAY_ENDED} >>${folder}/calls`,
    "fi",
    `[ "$(basename "$0")" = sleep ] && /bin/sleep ${sleepSeconds}`,
    'case "$call" in',
    ...Object.entries(said).map(([words, text]) => `  ${pattern(words)}) printf '%s\\n' '${text}' ;;`),
    "esac",
    "exit 0",
  ].join("\n");
  for (const name of COMMANDS) {
    writeFileSync(join(bin, name), standIn);
    chmodSync(join(bin, name), 0o755);
  }
  const file = join(folder, "boot.sh");
  writeFileSync(file, script.replaceAll(runDirectory, own));
  const { code } = await run("/bin/bash", [file], { PATH: `${bin}:/usr/bin:/bin` });
  const calls = readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
  const environment = existsSync(join(folder, "environment")) ? readFileSync(join(folder, "environment"), "utf8") : "";
  return { code, calls, environment, own };
}

export function run(
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): Promise<{ code: number; stdout: string }> {
  return new Promise((done) => {
    execFile(command, args, { env: environment }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code ?? -1), stdout: stdout + stderr }),
    );
  });
}
