import { execFile, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
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
  /** What the run directory holds in the end. */
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

/** A container of the test's own: processes, mounts and a root that is nobody outside. */
const CONTAINER = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"];
/** Some hosts let nobody make one. */
const contained = spawnSync("unshare", [...CONTAINER, "true"]).status === 0;

/**
 * Runs a machine's start script to its end with a real bash, in a container where the host lets make one and with another
 * run directory where not. What it calls is there as scripts that write down how they were called: what a cloud, Docker and
 * Ray make of that is not proven.
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
    // As the real one: whoever writes to it must not find it gone.
    'case "$*" in *--password-stdin*) cat >/dev/null ;; esac',
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
  mkdirSync(own, { mode: 0o700 });
  writeFileSync(file, contained ? script : script.replaceAll(runDirectory, own));
  const mounts = `mount -t tmpfs none ${dirname(runDirectory)} && mkdir ${runDirectory} && mount --bind ${own} ${runDirectory}`;
  const inside = [...CONTAINER, "/bin/bash", "-c", `${mounts} && PATH=${bin}:$PATH /bin/bash ${file}`];
  const environment = { PATH: contained ? "/usr/bin:/bin:/usr/sbin:/sbin" : `${bin}:/usr/bin:/bin` };
  const { code } = await (contained ? run("unshare", inside, environment) : run("/bin/bash", [file], environment));
  const calls = readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
  const ofRay = existsSync(join(folder, "environment")) ? readFileSync(join(folder, "environment"), "utf8") : "";
  return { code, calls, environment: ofRay, own };
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
