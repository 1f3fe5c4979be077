import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { CheckFailure, OperationContext, ResourceType } from "../resource";
import { DashboardUnreachable, getApplications } from "../serve/dashboard";
import { claimDirectory, readRecord, removeDirectory, writeRecord } from "./clusterDirectory";
import { withLock } from "./lock";
import { isAlive, type ProcessIdentity } from "./process";
import {
  type ClusterPorts,
  choosePorts,
  clusterFiles,
  HEAD_NODE_TYPE,
  headMessage,
  listensOnAny,
  startHead,
} from "./rayHead";
import { clusterProcesses, endCluster } from "./rayProcesses";

export interface ClusterInputs {
  /** Short absolute path, created 0700: the identity of the cluster on this host. Removed on delete. */
  directory: string;
  /** "<service>-<version>", shown to Ray. */
  clusterName: string;
  /** The Python executable with Ray; another one is used from the next start of the cluster on. */
  python: string;
  /** Logical resources. */
  head: { cpus: number; gpus: number; resources?: Record<string, number> };
  workers: Array<{
    name: string;
    cpus: number;
    gpus: number;
    resources?: Record<string, number>;
    minNodes: number;
    maxNodes: number;
  }>;
  /** After which the autoscaler ends an idle worker. */
  idleTimeoutSeconds: number;
}

export interface ClusterState extends ClusterInputs {
  dashboardUrl: string;
  dashboardTokenFile: string;
  /** host:port where Serve's HTTP proxy is to listen. */
  serveAddress: string;
  grpcPort: number;
  headPid: number;
}

const START_MS = 120_000;
const ADOPT_MS = 15_000;
const POLL_MS = 200;
/** For the ports of a cluster that has just ended. */
const CLOSING_MS = 3000;
const ATTEMPTS = 3;
const PROGRESS_MS = 5000;
/** Linux allows 107 characters for a socket's path; Ray adds /ray/session_<date>_<time>_<pid>/sockets/plasma_store.<n>. */
const LONGEST_DIRECTORY = 107 - "/ray/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store.999".length;

const amount = z.number().nonnegative();
const shape = { cpus: amount, gpus: amount, resources: z.record(z.string(), amount).optional() };
const Inputs = z
  .object({
    directory: z
      .string()
      .regex(/^\/[^\0]+$/, "has to be an absolute path")
      .max(LONGEST_DIRECTORY, `may have at most ${LONGEST_DIRECTORY} characters, since Ray's sockets lie below it`),
    clusterName: z.string().min(1),
    python: z.string().min(1),
    head: z.object(shape),
    workers: z.array(
      z
        .object({
          ...shape,
          name: z.string().min(1),
          minNodes: z.int().nonnegative(),
          maxNodes: z.int().nonnegative(),
        })
        .refine(({ minNodes, maxNodes }) => minNodes <= maxNodes, "minNodes may not exceed maxNodes"),
    ),
    idleTimeoutSeconds: z.number().positive(),
  })
  .partial();

export const cluster: ResourceType<ClusterInputs, ClusterState> = {
  check(inputs) {
    const failures: CheckFailure[] = (Inputs.safeParse(inputs).error?.issues ?? []).map((issue) => ({
      property: issue.path.join("."),
      reason: issue.message,
    }));
    const names = inputs.workers?.map(({ name }) => name) ?? [];
    for (const name of new Set(names.filter((each, index) => names.indexOf(each) !== index))) {
      failures.push({ property: "workers", reason: `two worker groups are named ${name}: rename one of them` });
    }
    if (names.includes(HEAD_NODE_TYPE)) {
      failures.push({
        property: "workers",
        reason: `${HEAD_NODE_TYPE} is the head's own name: rename the worker group`,
      });
    }
    return failures;
  },

  diff(state, inputs) {
    const replaces = changedInputs(state, inputs);
    return replaces.length === 0 ? { changes: false } : { changes: true, replaces };
  },

  async create(inputs, context) {
    const { directory } = inputs;
    const state = await withLock(
      directory,
      `the start of Ray cluster ${inputs.clusterName}`,
      () => take(inputs, context),
      context.signal,
    );
    return { id: directory, state };
  },

  async read(_id, state) {
    const record = readRecord(state.directory);
    if (record?.head === undefined || !headRuns(state.directory, record.head)) return undefined;
    return stateOf({ ...record.inputs, python: state.python }, record.ports, record.head);
  },

  async update(_id, state, inputs) {
    return { ...state, ...inputs };
  },

  async delete(_id, state, context) {
    const { directory } = state;
    await withLock(directory, `the end of Ray cluster ${state.clusterName}`, () => remove(directory), context.signal);
  },
};

/** Adopts the cluster that runs in the directory, or starts one; what a killed start has left is ended before. */
async function take(inputs: ClusterInputs, context: OperationContext): Promise<ClusterState> {
  const { directory } = inputs;
  claimDirectory(directory);
  const found = readRecord(directory);
  if (found?.head !== undefined && changedInputs(found.inputs, inputs).length === 0) {
    const state = stateOf(inputs, found.ports, found.head);
    if (headRuns(directory, found.head) && (await answers(state, found.head, ADOPT_MS, context))) {
      context.progress(`Ray cluster ${inputs.clusterName} runs already`);
      return state;
    }
  }
  if (clusterProcesses(directory).length > 0) {
    context.progress(`ending what is left of Ray cluster ${inputs.clusterName}`);
    const broken = found?.head === undefined || !headRuns(directory, found.head);
    await endCluster(directory, broken ? 0 : undefined);
  }
  context.signal.throwIfAborted();
  try {
    return await start(inputs, found?.ports ?? {}, context);
  } catch (error) {
    await remove(directory);
    throw error;
  }
}

async function start(
  inputs: ClusterInputs,
  previous: Partial<ClusterPorts>,
  context: OperationContext,
): Promise<ClusterState> {
  const { directory, clusterName } = inputs;
  const ports = await reservePorts(inputs, previous, context);
  let head: ProcessIdentity | undefined;
  for (let attempt = 1; ; attempt++) {
    rmSync(join(directory, "ray"), { recursive: true, force: true });
    head = await startHead(inputs, ports);
    if (head !== undefined) {
      writeRecord(directory, { inputs, ports, head });
      const state = stateOf(inputs, ports, head);
      if (await answers(state, head, START_MS, context)) return state;
    }
    // Ray gives a raylet a fixed 30 seconds to register, which a busy host can miss: that says nothing of the version.
    if (attempt === ATTEMPTS || !/timed out during startup/.test(headMessage(directory))) break;
    context.progress(`Ray's head was too slow to start on this busy host: trying again`);
    await endCluster(directory, 0);
  }
  const slow = head !== undefined && isAlive(head);
  throw new Error(
    `Ray cluster ${clusterName} did not start: ${slow ? `it did not answer within ${START_MS / 1000} s` : "its head ended"}. ` +
      `${headMessage(directory)}\n` +
      `Check that ${inputs.python} has ray[serve] installed and that the host has memory left, then run it again.`,
  );
}

/** Waits until Serve's REST API answers; false when the head ends before that or the time is over. */
async function answers(
  state: ClusterState,
  head: ProcessIdentity,
  timeoutMs: number,
  context: OperationContext,
): Promise<boolean> {
  const begin = Date.now();
  let shown = begin;
  while (Date.now() - begin < timeoutMs) {
    context.signal.throwIfAborted();
    if (!isAlive(head)) return false;
    try {
      await getApplications(state, context.signal);
      return true;
    } catch (error) {
      if (!(error instanceof DashboardUnreachable)) throw error;
    }
    if (Date.now() - shown >= PROGRESS_MS) {
      shown = Date.now();
      context.progress(`waiting for Ray's head (${Math.round((shown - begin) / 1000)} s)`);
    }
    await sleep(POLL_MS, undefined, { signal: context.signal });
  }
  return false;
}

/** Two clusters that start at once must not choose the same port: those recorded beside this one are taken. */
function reservePorts(inputs: ClusterInputs, previous: Partial<ClusterPorts>, context: OperationContext) {
  const parent = dirname(inputs.directory);
  const choose = async () => {
    const others = readdirSync(parent).map((name) => join(parent, name));
    const taken = others
      .filter((other) => other !== inputs.directory)
      .flatMap((other) => Object.values(readRecord(other)?.ports ?? {}));
    // A process that ended is out of sight a moment before the kernel has closed its sockets.
    const own = Object.values(previous).filter((port) => !taken.includes(port));
    for (const end = Date.now() + CLOSING_MS; Date.now() < end && listensOnAny(own); ) {
      await sleep(POLL_MS, undefined, { signal: context.signal });
    }
    const ports = choosePorts(previous, new Set(taken));
    writeRecord(inputs.directory, { inputs, ports });
    return ports;
  };
  return withLock(join(parent, "ports"), `the choice of ports for ${inputs.clusterName}`, choose, context.signal);
}

/** Whether the head with its GCS and raylet runs; the head itself ends when its dashboard does. */
function headRuns(directory: string, head: ProcessIdentity): boolean {
  if (!isAlive(head)) return false;
  const names = clusterProcesses(directory)
    .filter(({ parent }) => parent === head.pid)
    .map(({ name }) => name);
  return names.includes("gcs_server") && names.includes("raylet");
}

/** The path of Python alone is no change: it is used at the next start. */
function changedInputs(old: ClusterInputs, inputs: ClusterInputs): (keyof ClusterInputs)[] {
  const names = ["directory", "clusterName", "head", "workers", "idleTimeoutSeconds"] as const;
  return names.filter((name) => !isDeepStrictEqual(old[name], inputs[name]));
}

function stateOf(inputs: ClusterInputs, ports: ClusterPorts, head: ProcessIdentity): ClusterState {
  return {
    ...inputs,
    dashboardUrl: `http://127.0.0.1:${ports.dashboard}`,
    dashboardTokenFile: clusterFiles(inputs.directory).token,
    serveAddress: `127.0.0.1:${ports.serveHttp}`,
    grpcPort: ports.serveGrpc,
    headPid: head.pid,
  };
}

/** Leaves no process and no directory. */
async function remove(directory: string): Promise<void> {
  await endCluster(directory);
  removeDirectory(directory);
}
