import { spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { effect } from "../effects";
import type { ClusterInputs } from "./cluster";
import { identify, type ProcessIdentity } from "./process";
import { CLUSTER_VARIABLE, rayDirectory } from "./rayProcesses";

/** Where a cluster listens, all on 127.0.0.1. */
export interface ClusterPorts {
  gcs: number;
  dashboard: number;
  agentHttp: number;
  agentGrpc: number;
  metrics: number;
  autoscalerMetrics: number;
  dashboardMetrics: number;
  serveHttp: number;
  serveGrpc: number;
}

const PORT_NAMES = [
  "gcs",
  "dashboard",
  "agentHttp",
  "agentGrpc",
  "metrics",
  "autoscalerMetrics",
  "dashboardMetrics",
  "serveHttp",
  "serveGrpc",
] as const satisfies readonly (keyof ClusterPorts)[];

/** Below Linux's ephemeral ports, so that no outgoing connection takes one between the choice and its use. */
const PORT_RANGE = { from: 20_000, to: 30_000 };
const LOOPBACK = "127.0.0.1";
/** Ray's id of the head, in the place of a random one: the autoscaler has to know it before the head runs. */
const HEAD_NODE_ID = `${"f".repeat(51)}00000`;
export const HEAD_NODE_TYPE = "rayshift-head";
/** Ray asks for 75 MiB at least. Serve passes requests by gRPC; the object store holds only large arguments. */
const OBJECT_STORE_BYTES = 80_000_000;
const PYTHON_FILES = ["rayshift_head.py", "rayshift_nodes.py", "rayshift_demand.py"];
const PYTHON_SOURCE = resolve(__dirname, "../../../provider/local/python");
/** What a person's environment may give to Ray and its replicas; the rest (the stack's passphrase, cloud keys) is nobody's business there. */
const PASSED_ON =
  /^(PATH|HOME|USER|LOGNAME|SHELL|TZ|LANG|LC_.*|LD_LIBRARY_PATH|SSL_CERT_.*|(https?|no|all)_proxy|(CUDA|NVIDIA|HF|PIP|UV|OMP)_.*)$/i;

export interface ClusterFiles {
  record: string;
  token: string;
  headLog: string;
  headConfig: string;
  autoscaling: string;
  python: string;
  /** TMPDIR of all its processes. */
  temporary: string;
}

export function clusterFiles(directory: string): ClusterFiles {
  return {
    record: join(directory, "cluster.json"),
    token: join(directory, "token"),
    headLog: join(directory, "head.log"),
    headConfig: join(directory, "head.json"),
    autoscaling: join(directory, "autoscaling.json"),
    python: join(directory, "python"),
    temporary: join(directory, "tmp"),
  };
}

/** The given ports where they are free, else a free one each, never one of `taken`. */
export function choosePorts(previous: Partial<ClusterPorts>, taken: ReadonlySet<number>): ClusterPorts {
  const used = new Set([...taken, ...listeningPorts()]);
  const size = PORT_RANGE.to - PORT_RANGE.from;
  const start = randomInt(size);
  const free = Array.from({ length: size }, (_, step) => PORT_RANGE.from + ((start + step) % size));
  const choose = (name: keyof ClusterPorts) => {
    const before = previous[name];
    const port = before !== undefined && !used.has(before) ? before : free.find((each) => !used.has(each));
    if (port === undefined) {
      throw new Error(`all TCP ports from ${PORT_RANGE.from} to ${PORT_RANGE.to - 1} are in use: Ray needs some.`);
    }
    used.add(port);
    return port;
  };
  return Object.fromEntries(PORT_NAMES.map((name) => [name, choose(name)])) as unknown as ClusterPorts;
}

/** Whether anything on this host listens on one of the TCP ports. */
export function listensOnAny(ports: readonly number[]): boolean {
  const listening = listeningPorts();
  return ports.some((port) => listening.has(port));
}

/**
 * Starts the head as a process of its own that outlives this one. Returns at once, long before Ray answers; undefined
 * when it has ended already.
 *
 * @throws when Python cannot be started
 */
export async function startHead(inputs: ClusterInputs, ports: ClusterPorts): Promise<ProcessIdentity | undefined> {
  const files = clusterFiles(inputs.directory);
  // A copy of its own: the cluster outlives a checkout, and its autoscaler may be started again at any time.
  mkdirSync(files.python, { recursive: true, mode: 0o700 });
  mkdirSync(files.temporary, { recursive: true, mode: 0o700 });
  for (const name of PYTHON_FILES) copyFileSync(join(PYTHON_SOURCE, name), join(files.python, name));
  if (!existsSync(files.token)) writeFileSync(files.token, randomBytes(32).toString("hex"), { mode: 0o600 });
  writeFileSync(files.autoscaling, JSON.stringify(autoscalingConfig(inputs, ports), undefined, 2), { mode: 0o600 });
  writeFileSync(files.headConfig, JSON.stringify(headConfig(inputs, ports), undefined, 2), { mode: 0o600 });

  const log = openSync(files.headLog, "w", 0o600);
  const run = async () => {
    const child = spawn(inputs.python, [join(files.python, "rayshift_head.py"), files.headConfig], {
      cwd: inputs.directory,
      env: headEnvironment(inputs.directory, ports),
      detached: true,
      stdio: ["ignore", log, log],
    });
    await new Promise<void>((started, failed) => {
      child.once("spawn", started);
      child.once("error", (error) => failed(new Error(`${inputs.python} cannot be started: ${error.message}`)));
    });
    child.unref();
    return child.pid ?? -1;
  };
  return identify(await effect("start a head", inputs.directory, run).finally(() => closeSync(log)));
}

/** What the head said last, without the stack traces: Ray's own message. */
export function headMessage(directory: string): string {
  const sources = [clusterFiles(directory).headLog, ...rayLogs(directory)];
  const said = sources.map((file) => lastWords(file)).find((words) => words !== "");
  return said === undefined ? "Ray left no message." : `Ray's last words: ${said}`;
}

function rayLogs(directory: string): string[] {
  const logs = join(rayDirectory(directory), "session_latest", "logs");
  try {
    const wanted = /^(gcs_server|raylet|dashboard|monitor)\.(err|out)$/;
    return readdirSync(logs)
      .filter((name) => wanted.test(name))
      .map((name) => join(logs, name));
  } catch {
    return [];
  }
}

function lastWords(file: string): string {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line.trim() !== "" && !/^\s|^Traceback|^During handling|^The above exception/.test(line))
      .slice(-4)
      .join("\n")
      .slice(-1500);
  } catch {
    return "";
  }
}

function headEnvironment(directory: string, ports: ClusterPorts): NodeJS.ProcessEnv {
  const files = clusterFiles(directory);
  return {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name))),
    [CLUSTER_VARIABLE]: directory,
    PYTHONPATH: files.python,
    RAY_AUTH_MODE: "token",
    RAY_AUTH_TOKEN_PATH: files.token,
    // Ray's switch for hosts without clusters over a network: it keeps 127.0.0.1 as the address of the nodes, where it
    // would put the host's own address otherwise, and so every port of GCS, raylets and agents is loopback. (Serve's replicas listen
    // for each other on all interfaces whatever is set; they ask for the token.)
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER: "0",
    RAY_enable_autoscaler_v2: "1",
    RAY_CLOUD_INSTANCE_ID: HEAD_NODE_ID,
    RAY_FAKE_CLUSTER: "1",
    AUTOSCALER_UPDATE_INTERVAL_S: "1",
    AUTOSCALER_METRIC_PORT: String(ports.autoscalerMetrics),
    DASHBOARD_METRIC_PORT: String(ports.dashboardMetrics),
    // A worker that has lost its head ends after this many seconds (60 by default).
    RAY_gcs_rpc_server_reconnect_timeout_s: "15",
    // Replicas serve requests: nothing else on this host may starve them, a canary that starts least of all.
    RAY_worker_niceness: "0",
    RAY_USAGE_STATS_ENABLED: "0",
    // Cheaper requests: Serve's proxy reaches its replicas by gRPC, and nobody reads metrics ten times a second or
    // Serve's log lines a second time on stderr. docs/performance.md has the figures.
    RAY_SERVE_PROXY_USE_GRPC: "1",
    RAY_SERVE_METRICS_EXPORT_INTERVAL_MS: "1000",
    RAY_SERVE_LOG_TO_STDERR: "0",
    // Killed processes leave their temporary files behind: here they go with the cluster.
    TMPDIR: files.temporary,
  };
}

function headConfig(inputs: ClusterInputs, ports: ClusterPorts): object {
  return {
    gcs_port: ports.gcs,
    dashboard_port: ports.dashboard,
    agent_http_port: ports.agentHttp,
    agent_grpc_port: ports.agentGrpc,
    metrics_port: ports.metrics,
    cpus: inputs.head.cpus,
    gpus: inputs.head.gpus,
    resources: inputs.head.resources ?? {},
    object_store_bytes: OBJECT_STORE_BYTES,
    temp_dir: rayDirectory(inputs.directory),
    autoscaling_config: clusterFiles(inputs.directory).autoscaling,
    node_id: HEAD_NODE_ID,
    node_type: HEAD_NODE_TYPE,
  };
}

/** Ray's cluster YAML as JSON. The commands and mounts are for hosts that Ray would set up, and empty here. */
function autoscalingConfig(inputs: ClusterInputs, ports: ClusterPorts): object {
  const shape = ({ cpus, gpus, resources }: ClusterInputs["head"]) => ({
    ...resources,
    CPU: cpus,
    GPU: gpus,
    object_store_memory: OBJECT_STORE_BYTES,
  });
  return {
    cluster_name: inputs.clusterName,
    max_workers: inputs.workers.reduce((sum, { maxNodes }) => sum + maxNodes, 0),
    idle_timeout_minutes: inputs.idleTimeoutSeconds / 60,
    upscaling_speed: 100,
    provider: {
      type: "external",
      module: "rayshift_nodes.LocalNodeProvider",
      gcs_address: `${LOOPBACK}:${ports.gcs}`,
      dashboard_url: `http://${LOOPBACK}:${ports.dashboard}`,
      temp_dir: rayDirectory(inputs.directory),
      head_node_type: HEAD_NODE_TYPE,
      head_node_id: HEAD_NODE_ID,
      min_nodes: Object.fromEntries(inputs.workers.map(({ name, minNodes }) => [name, minNodes])),
      disable_node_updaters: true,
      disable_launch_config_check: true,
    },
    auth: {},
    available_node_types: {
      [HEAD_NODE_TYPE]: { resources: shape(inputs.head), node_config: {}, min_workers: 0, max_workers: 0 },
      ...Object.fromEntries(
        inputs.workers.map((group) => [
          group.name,
          { resources: shape(group), node_config: {}, min_workers: group.minNodes, max_workers: group.maxNodes },
        ]),
      ),
    },
    head_node_type: HEAD_NODE_TYPE,
    file_mounts: {},
    cluster_synced_files: [],
    file_mounts_sync_continuously: false,
    initialization_commands: [],
    setup_commands: [],
    head_setup_commands: [],
    worker_setup_commands: [],
    head_start_ray_commands: [],
    worker_start_ray_commands: [],
  };
}

/**
 * The TCP ports on which anything on this host listens. Trying to bind would also refuse a port that only has ended
 * connections left, as a cluster's has right after it was ended, although Ray can bind it.
 */
function listeningPorts(): Set<number> {
  const LISTEN = "0A";
  const lines = ["/proc/net/tcp", "/proc/net/tcp6"]
    .filter((table) => existsSync(table))
    .flatMap((table) => readFileSync(table, "utf8").split("\n"));
  const ports = lines
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === LISTEN)
    .map((fields) => Number.parseInt(fields[1]?.split(":").at(-1) ?? "", 16));
  return new Set(ports);
}
