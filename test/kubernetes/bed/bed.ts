import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { identify } from "../../../provider/local/process";
import type { Api } from "./api";
import { buildParts, type Folders, fetchEnvoy } from "./binaries";
import { AUDIT_LOG, CONTEXT, type ControlPlane, startControlPlane } from "./controlPlane";
import { definitionsAreServed } from "./definitions";
import { removeControlGroup } from "./full/cgroups";
import { whyNoNode } from "./full/debianPackages";
import { buildImages } from "./full/images";
import { startMachine } from "./full/machine";
import { restartOperatorPod, startSystemPods } from "./full/systemPods";
import { startGateway } from "./gateway";
import {
  controlPlane,
  envoyGateway,
  etcd,
  gatewayDefinitions,
  kuberayDefinitions,
  kwok,
  networkPolicies,
  nodePrograms,
  type Part,
  podPrograms,
  pulumiPlugin,
} from "./parts";
import { copyState, preparedState } from "./prepared";
import { Processes } from "./processes";
import { until } from "./until";
import { addNode, type FakeMachine, placed, startControllers, startOperator, startWorkloads } from "./workloads";

export const LEVELS = ["api", "kwok", "gateway", "full"] as const;

/**
 * `api`: etcd and the API server, with the definitions of KubeRay, the Gateway API and Envoy Gateway: objects are
 * checked and kept, and nothing comes of them.
 *
 * `kwok`: with the controllers, the scheduler and KubeRay's operator as well. Nodes are fakes of kwok's, and what would
 * run in Ray's pods is the project's fake of Serve on the pods' addresses ({@link FakeRay} names what is not proven).
 *
 * `gateway`: with Envoy Gateway and its Envoys too, real programs outside of pods, that route to the pods' addresses.
 *
 * `full`: nothing is a fake but the GPUs. One real node runs real pods: names, KubeRay's operator, Envoy Gateway, Envoy,
 * and Ray from an image. For root only.
 */
export type Level = (typeof LEVELS)[number];

const apiParts = [etcd, controlPlane, kuberayDefinitions, gatewayDefinitions, pulumiPlugin];
const kwokParts = [...apiParts, kwok];
const parts: Record<Level, Part[]> = {
  api: apiParts,
  kwok: kwokParts,
  gateway: [...kwokParts, envoyGateway],
  full: [...apiParts, nodePrograms, networkPolicies, podPrograms, envoyGateway],
};

/** ms that a test may wait for a bed whose parts all have to be built. */
export const BUILD_MS = 90 * 60_000;

/** A Kubernetes control plane for tests. */
export interface Bed {
  /** Path; an administrator's. */
  kubeconfig: string;
  /** In the kubeconfig. */
  context: string;
  /** Path of another one, with the rights of a service account that there is, for an hour. */
  kubeconfigFor(namespace: string, account: string): Promise<string>;
  /** What a service account has asked the API server for and got, each once: `VERB GROUP/RESOURCE NAMESPACE`. */
  askedBy(namespace: string, account: string): string[];
  /** Folder with the plugin of @pulumi/kubernetes. */
  plugin: string;
  /** The administrator's access as a client. */
  api: Api;
  /** A new namespace, by name; it goes with the bed. */
  namespace(): Promise<string>;
  /**
   * Leads a port of this host's loopback to one on the bed's own, or on an address in the bed; gives the host's port. A
   * gateway's listener with a port below 1024 is 10000 above it where Envoy runs outside of pods.
   */
  open(port: number, host?: string): Promise<number>;
  /** Adds a fake node, where the level has them. */
  addNode(machine: FakeMachine): Promise<void>;
  /** Ends KubeRay's operator and starts another, as a cluster does that moves its pod. */
  restartOperator(): Promise<void>;
  /** Pids of all its programs. */
  pids(): number[];
  /** The end of the log of one of them. */
  log(program: string): string;
  /** Ends all its programs and removes all its files. */
  stop(): Promise<void>;
}

/** Builds what beds of every level need, or of one, and the cache does not have; images only where a node can run. */
export async function prepareBeds(levels: readonly Level[] = LEVELS): Promise<void> {
  const folders = await buildParts([...new Set(levels.flatMap((level) => parts[level]))]);
  await preparedState(folders);
  const envoy = await fetchEnvoy();
  if (levels.includes("full") && whyNoNode() === undefined) await buildImages(folders, envoy);
}

/**
 * Starts a bed, after building what the cache does not have yet. It ends with this process at the latest, however that
 * ends.
 *
 * @throws an error that names the program that did not start, with the end of its log; nothing is left then
 */
export async function startBed(level: Level): Promise<Bed> {
  const folders = await buildParts(parts[level]);
  const state = await preparedState(folders);
  const full = level === "full";
  const envoy = full || level === "gateway" ? await fetchEnvoy() : undefined;
  const layouts = full ? await buildImages(folders, envoy!) : [];
  removeLeftovers();
  const folder = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  const logs = join(folder, "logs");
  mkdirSync(logs);
  const processes = new Processes(logs);
  const remove = () => {
    removeControlGroup(basename(folder));
    rmSync(folder, { recursive: true, force: true });
  };
  const forget = atEnd(() => {
    processes.killAndWait();
    remove();
  });
  let api: Api | undefined;
  const stop = async () => {
    api?.close();
    await processes.stop();
    remove();
    forget();
  };
  try {
    copyState(state, join(folder, "etcd"));
    const started = await startControlPlane(processes, folder, folders, full ? "routed" : "answered");
    api = started.api;
    await definitionsAreServed(api, processes);
    const withPods = level !== "api";
    if (full) await startNode(processes, started, folder, folders, layouts);
    else if (withPods) await startWorkloads(processes, started, folders);
    if (level === "gateway") await startGateway(processes, started, folder, folders, envoy!);
    let namespaces = 0;
    return {
      kubeconfig: started.kubeconfig,
      context: CONTEXT,
      plugin: folders[pulumiPlugin.name]!,
      kubeconfigFor: started.kubeconfigFor,
      askedBy: (namespace, account) =>
        askedBy(join(folder, AUDIT_LOG), `system:serviceaccount:${namespace}:${account}`),
      api,
      namespace: () => makeNamespace(started.api, `test-${++namespaces}`, withPods),
      open: started.network.open,
      addNode: (machine) => addNode(started.api, machine),
      restartOperator: async () => {
        if (full) return await restartOperatorPod(started.api);
        await processes.end("kuberay-operator");
        startOperator(processes, started, folders);
      },
      pids: () => processes.pids(),
      log: (program) => processes.tail(program),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startNode(
  processes: Processes,
  plane: ControlPlane,
  folder: string,
  folders: Folders,
  layouts: readonly string[],
): Promise<void> {
  startControllers(processes, plane, folders);
  await startMachine(processes, plane, folder, folders, layouts);
  await until("the controllers' first work", ACCOUNT_SECONDS, () => placed(plane.api), processes);
  await startSystemPods(processes, plane, folders);
}

const PREFIX = "rayshift-bed-";
/** Until the controllers have made it; no pod is taken before. */
const ACCOUNT_SECONDS = 30;

async function makeNamespace(api: Api, name: string, withPods: boolean): Promise<string> {
  await api.create("/api/v1/namespaces", { metadata: { name } });
  if (!withPods) return name;
  return await until(`the service account of ${name}`, ACCOUNT_SECONDS, async () => {
    await api.get(`/api/v1/namespaces/${name}/serviceaccounts/default`);
    return name;
  });
}

interface AuditEvent {
  verb: string;
  user: { username: string };
  objectRef?: { apiGroup?: string; resource?: string; subresource?: string; namespace?: string };
  responseStatus?: { code?: number };
}

function askedBy(log: string, username: string): string[] {
  const events = readFileSync(log, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as AuditEvent);
  const granted = events.filter(({ user, objectRef, responseStatus }) => {
    return user.username === username && objectRef?.resource !== undefined && responseStatus?.code !== 403;
  });
  const words = granted.map(
    ({ verb, objectRef: { apiGroup = "", resource = "", subresource, namespace = "" } = {} }) => {
      return `${verb} ${apiGroup}/${resource}${subresource === undefined ? "" : `/${subresource}`} ${namespace}`;
    },
  );
  return [...new Set(words)].sort();
}

/** Folders of beds whose process was killed. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || identify(Number(owner)) !== undefined) continue;
    removeControlGroup(name);
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** What the beds of this process do at a signal. */
const ofBeds = new Set<unknown>();

/** Does the work when this process is about to end; gives the function that takes it back. */
function atEnd(work: () => void): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const interrupted = (signal: NodeJS.Signals) => {
    // Whoever else listens decides what becomes of the process, and may still need the bed.
    if (process.listeners(signal).some((listener) => !ofBeds.has(listener))) return;
    forget();
    work();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const forget = () => {
    process.off("exit", work);
    for (const signal of signals) process.off(signal, interrupted);
    ofBeds.delete(interrupted);
  };
  ofBeds.add(interrupted);
  process.on("exit", work);
  for (const signal of signals) process.on(signal, interrupted);
  return forget;
}
