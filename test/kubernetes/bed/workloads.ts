import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../setup/support";
import type { Api, KubernetesObject } from "./api";
import type { Folders } from "./binaries";
import type { ControlPlane } from "./controlPlane";
import { POD_NETWORK } from "./network";
import type { Processes } from "./processes";
import { until } from "./until";

/** What becomes of pods; kwok's own are for nodes. */
const stages = join(root, "test", "kubernetes", "bed", "stages");

const READY_SECONDS = 60;
const NODES = "/api/v1/nodes";

/** A fake node: it has what it says, and nothing runs on it. */
export interface FakeMachine {
  name: string;
  cpus: number;
  gpus: number;
  labels?: Record<string, string>;
  taints?: Array<{ key: string; value?: string; effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute" }>;
}

/** Starts what makes and places pods, fake nodes to place them on, KubeRay's operator, and a fake of what Ray's pods run. */
export async function startWorkloads(processes: Processes, plane: ControlPlane, folders: Folders): Promise<void> {
  const { network, inner, api } = plane;
  startControllers(processes, plane, folders);
  const kwok = folders.kwok!;
  const files = [join(kwok, "stages"), stages].flatMap((folder) =>
    readdirSync(folder).map((name) => join(folder, name)),
  );
  processes.start("kwok", network.enter, [
    join(kwok, "kwok"),
    `--kubeconfig=${inner}`,
    ...files.map((file) => `--config=${file}`),
    "--manage-all-nodes=true",
    `--cidr=${POD_NETWORK}`,
    "--node-ip=127.0.0.1",
    "--node-port=0",
  ]);
  startOperator(processes, plane, folders);
  processes.start("fake-ray", network.enter, [process.execPath, join(__dirname, "fakeRay.js"), inner]);
  await addNode(api, { name: "cpu-0", cpus: 64, gpus: 0 });
  await until("the operator's and the controllers' first work", READY_SECONDS, () => placed(api), processes);
}

/** Starts what makes pods and places them. */
export function startControllers(
  processes: Processes,
  { network, inner, signingKey, authority }: ControlPlane,
  folders: Folders,
): void {
  const start = (name: string, ...args: string[]) =>
    processes.start(name, network.enter, [
      join(folders["control-plane"]!, name),
      `--kubeconfig=${inner}`,
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      "--profiling=false",
      ...args,
    ]);
  start(
    "kube-controller-manager",
    `--service-account-private-key-file=${signingKey}`,
    `--root-ca-file=${authority}`,
    // No node is lost here; on a busy host a heartbeat of kwok's is late, and nothing would make its pods ready again.
    "--node-monitor-grace-period=1h",
  );
  start("kube-scheduler");
}

/** An argument of KubeRay's operator: its own upgrade, which from 1.7 on needs no argument. */
export const INCREMENTAL_UPGRADE = "--feature-gates=RayServiceIncrementalUpgrade=true";

/** KubeRay's operator, with its own upgrade, which has to leave ours alone; it reaches Ray through the API server, as it does not run in a pod. */
export function startOperator(processes: Processes, { network, inner }: ControlPlane, folders: Folders): void {
  processes.start("kuberay-operator", network.enter, [
    join(folders["control-plane"]!, "kuberay-operator"),
    `--kubeconfig=${inner}`,
    "--use-kubernetes-proxy",
    INCREMENTAL_UPGRADE,
    "--enable-leader-election=false",
    "--metrics-addr=127.0.0.1:18081",
    "--health-probe-bind-address=127.0.0.1:18082",
    "--log-stdout-encoder=console",
  ]);
}

/** Adds a fake node and waits until it is ready for pods. */
export async function addNode(api: Api, { name, cpus, gpus, labels = {}, taints = [] }: FakeMachine): Promise<void> {
  const has = { cpu: cpus, memory: "512Gi", pods: 110, "ephemeral-storage": "1Ti" };
  const resources = gpus === 0 ? has : { ...has, "nvidia.com/gpu": gpus };
  await api.apply(`${NODES}/${name}`, {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
    spec: { taints },
    status: { allocatable: resources, capacity: resources },
  });
  const ready = ({ status, spec }: KubernetesObject) =>
    (status.conditions as Array<{ type: string; status: string }> | undefined)?.some(
      (each) => each.type === "Ready" && each.status === "True",
    ) && !(spec.taints as Array<{ key: string }> | undefined)?.some(({ key }) => key.startsWith("node.kubernetes.io/"));
  await until(`node ${name}, ready`, READY_SECONDS, async () => ready(await api.get(`${NODES}/${name}`)) || undefined);
}

/** Accounts come from the controllers: without one a namespace takes no pods. */
export async function placed(api: Api): Promise<true> {
  await api.get("/api/v1/namespaces/default/serviceaccounts/default");
  return true;
}
