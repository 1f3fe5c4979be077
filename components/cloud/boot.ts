import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type AutoscalingInputs, autoscalingConfig, HEAD_NODE_TYPE, resourceOptions } from "./autoscaling";

/** Ports of every machine of a cluster, as Ray has them by default. */
export const ports = { gcs: 6379, dashboard: 8265, serve: 8000, grpc: 9000 } as const;

/**
 * The parts of a boot script that differ by cloud: the bodies of shell functions (bash, `set -euo pipefail`). None of them
 * holds a secret.
 */
export interface CloudShell {
  /** Has the script run at every boot, where the cloud runs it at the first only. */
  every_boot: string;
  /** Prints the machine's id as the cloud's node provider in Ray knows it. */
  instance_id: string;
  /** Prints the secret of the cluster: Ray's token in the first line, the query token in the second. */
  read_secret: string;
  /** Ends this machine for good, so that it costs nothing. */
  end_instance: string;
  /** Lets the runtime pull the image; `$1` is its name. */
  registry_login: string;
}

/** Of a head only. */
export interface HeadShell extends CloudShell {
  /** Has the cluster's name lead to this machine. */
  announce: string;
  /** Prints the Serve config that the cluster runs by; prints nothing where none was kept yet. */
  saved_config: string;
}

interface NodeInputs {
  clusterName: string;
  /** Container image with Ray; absent: Ray is installed on the machine. */
  image?: string | undefined;
}

export interface HeadInputs extends NodeInputs {
  shell: HeadShell;
  autoscaling: AutoscalingInputs;
  /** Of replicas on the head: none beside worker groups. */
  cpus: number;
  gpus: number;
  /** What Serve's proxy checks, because the load balancer cannot. */
  proxyChecks: { token: boolean; exactRoles: boolean };
}

export interface WorkerInputs extends NodeInputs {
  shell: CloudShell;
  /** Name or address at which workers find the head. */
  headHost: string;
  group: Pick<AutoscalingInputs["groups"][number], "name" | "resources">;
}

/** What a service's machines keep while they run; nothing of it is on a disk. */
export const runDirectory = "/run/rayshift";
/** A worker that has not reached its head for this long ends. */
const HEAD_PATIENCE_ROUNDS = 10;
const HEAD_ROUND_SECONDS = 30;
const INGRESS_SOURCE = resolve(__dirname, "../../../provider/serve/python/rayshift_ingress.py");

/** The script that makes a machine the head of a cluster. It stays as long as Ray does, and the machine no longer. */
export function headScript(inputs: HeadInputs): string {
  const { clusterName, image, shell, autoscaling, cpus, gpus, proxyChecks } = inputs;
  const checks = proxyChecks.token || proxyChecks.exactRoles;
  const start = [
    "ray start --head --block",
    `--port=${ports.gcs} --dashboard-host=0.0.0.0 --dashboard-port=${ports.dashboard}`,
    `--num-cpus=${cpus} --num-gpus=${gpus} --autoscaling-config=${runDirectory}/autoscaling.json`,
  ];
  const environment = {
    RAY_NODE_TYPE_NAME: HEAD_NODE_TYPE,
    // Ray takes the old autoscaler where nobody says otherwise.
    RAY_enable_autoscaler_v2: "1",
    ...(checks
      ? { RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH: "rayshift_ingress.middlewares", PYTHONPATH: runDirectory }
      : {}),
    ...(proxyChecks.token ? { RAYSHIFT_QUERY_TOKENS: `${runDirectory}/query-token` } : {}),
    ...(proxyChecks.exactRoles ? { RAYSHIFT_EXACT_ROLES: "1" } : {}),
  };
  return script(`Head of the Ray cluster ${clusterName}.`, shell, image, gpus, environment, [
    file("autoscaling.json", JSON.stringify(autoscalingConfig(autoscaling), undefined, 1)),
    ...(checks ? [file("rayshift_ingress.py", readFileSync(INGRESS_SOURCE, "utf8").trimEnd())] : []),
    ...SERVE_AGAIN,
    'announce "$(hostname -I | cut -d " " -f 1)"',
    "serve_again &",
    `run_ray ${start.join(" \\\n  ")}`,
  ]);
}

/** The script that makes a machine a worker of a cluster, and ends it when the head is gone. */
export function workerScript({ clusterName, image, shell, headHost, group }: WorkerInputs): string {
  const options = resourceOptions(group.resources).map(quoted).join(" ");
  const start = `ray start --block --address=${quoted(`${headHost}:${ports.gcs}`)} ${options}`;
  const environment = { RAY_NODE_TYPE_NAME: group.name };
  return script(
    `A worker (${group.name}) of the Ray cluster ${clusterName}.`,
    shell,
    image,
    group.resources.gpus,
    environment,
    [
      "watch_head() {",
      "  local missed=0",
      `  while sleep ${HEAD_ROUND_SECONDS} && kill -0 $$; do`,
      `    if timeout 10 bash -c ${quoted(`exec 3<>/dev/tcp/${headHost}/${ports.gcs}`)} 2>/dev/null; then`,
      "      missed=0",
      "    else",
      "      missed=$((missed + 1))",
      "    fi",
      `    if [ "$missed" -ge ${HEAD_PATIENCE_ROUNDS} ]; then`,
      '      echo "rayshift: the head is gone"',
      "      end_instance",
      "    fi",
      "  done",
      "}",
      "watch_head &",
      `run_ray ${start}`,
    ],
  );
}

/** A head that took another's place knows nothing of what that one ran. */
const SERVE_AGAIN = [
  "serve_again() {",
  "  local config",
  `  until curl -fsS -o /dev/null -H @${runDirectory}/header http://127.0.0.1:${ports.dashboard}/api/version; do sleep 2; done`,
  "  config=$(saved_config)",
  '  if [ -z "$config" ]; then return; fi',
  '  echo "rayshift: this head takes up the applications of the one before"',
  `  until printf '%s' "$config" | curl -fsS -X PUT -H @${runDirectory}/header -H "Content-Type: application/json" \\`,
  `    --data-binary @- http://127.0.0.1:${ports.dashboard}/api/serve/applications/; do sleep 5; done`,
  "}",
];

function script(
  title: string,
  shell: CloudShell,
  image: string | undefined,
  gpus: number,
  environment: Record<string, string>,
  body: readonly string[],
): string {
  const all = {
    ...environment,
    RAY_AUTH_MODE: "token",
    RAY_AUTH_TOKEN_PATH: `${runDirectory}/token`,
    RAY_USAGE_STATS_ENABLED: "0",
  };
  const lines = [
    "#!/bin/bash",
    `# ${title} Made by rayshift.`,
    "set -euo pipefail",
    "umask 077",
    "",
    ...functions(shell),
    "",
    "# Whatever goes wrong: a machine that is no node of the cluster ends.",
    "trap end_instance EXIT",
    "every_boot",
    `mkdir -p ${runDirectory}`,
    `cd ${runDirectory}`,
    "read_secret >secret",
    "sed -n 1p secret >token",
    "sed -n 2p secret >query-token",
    "rm secret",
    "printf 'Authorization: Bearer %s\\n' \"$(cat token)\" >header",
    "",
    "INSTANCE_ID=$(instance_id)",
    ...runRay(image, gpus, all),
    "",
    ...body,
    "",
  ];
  return lines.join("\n");
}

function functions(shell: CloudShell): string[] {
  const bodies: Array<[name: string, body: string]> = Object.entries(shell);
  return bodies.flatMap(([name, body]) => [
    `${name}() {`,
    ...body.split("\n").map((line) => (line === "" ? "" : `  ${line}`)),
    "}",
  ]);
}

/** A shell function that runs Ray, in its image or on the machine itself. */
function runRay(image: string | undefined, gpus: number, environment: Record<string, string>): string[] {
  if (image === undefined) {
    const variables = Object.entries(environment).map(([name, value]) => `export ${name}=${quoted(value)}`);
    return [...variables, 'export RAY_CLOUD_INSTANCE_ID="$INSTANCE_ID"', "run_ray() {", '  "$@"', "}"];
  }
  const variables = Object.entries(environment).map(([name, value]) => `    -e ${quoted(`${name}=${value}`)} \\`);
  return [
    `registry_login ${quoted(image)}`,
    `docker pull --quiet ${quoted(image)}`,
    "# The image's own user reads the files; nobody else on the machine does.",
    `OWNER=$(docker run --rm --entrypoint id ${quoted(image)} -u)`,
    "run_ray() {",
    `  chown -R "$OWNER" ${runDirectory}`,
    // The head's name and ports are the machine's, and so is /dev/shm, which Ray's object store is in.
    `  docker run --rm --name ray --network host --ipc host${gpus > 0 ? " --gpus all" : ""} \\`,
    ...variables,
    '    -e RAY_CLOUD_INSTANCE_ID="$INSTANCE_ID" \\',
    `    -v ${runDirectory}:${runDirectory} \\`,
    `    ${quoted(image)} "$@"`,
    "}",
  ];
}

/** A file of the run directory, with exactly that text. */
function file(name: string, text: string): string {
  return [`cat >${name} <<'RAYSHIFT_FILE'`, text, "RAYSHIFT_FILE"].join("\n");
}

/** One word of a shell's command. */
export function quoted(text: string): string {
  return /^[\w./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
