import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { KubernetesObject } from "../api";
import type { Folders } from "../binaries";
import { type ControlPlane, SERVICE_NETWORK } from "../controlPlane";
import { NODE_ADDRESS } from "../network";
import type { Processes } from "../processes";
import { until } from "../until";
import { makeControlGroup } from "./cgroups";
import { CNI_PLUGINS, systemPath } from "./debianPackages";
import { SYSTEM_IMAGE } from "./images";

/** The only node. */
export const NODE = "node-0";
/** GPUs that the node says it has, and that nothing looks for. */
export const GPUS = 16;
/** Addresses of pods; the rest of the bed's network for pods has the node's own. */
const POD_NETWORK = "10.244.0.0/24";
export const DNS_ADDRESS = "10.96.0.10";
export const DNS_DOMAIN = "cluster.local";

const START_SECONDS = 120;
const SOCKET = "/run/containerd/containerd.sock";
/** Takes in the image of a folder, as soon as containerd answers. */
const IMPORT = `
for attempt in $(seq 300); do ctr --address ${SOCKET} version >/dev/null 2>&1 && break; sleep 0.1; done
tar -C "$1" -cf - . | ctr --address ${SOCKET} --namespace k8s.io images import -
`;

/**
 * What the kubelet would set on the whole host. In the node's own view these are files that have it already, so the host
 * keeps its own.
 */
export const KERNEL_DEFAULTS: Record<string, string> = {
  "vm/overcommit_memory": "1",
  "vm/panic_on_oom": "0",
  "kernel/panic": "10",
  "kernel/panic_on_oops": "1",
  "kernel/keys/root_maxkeys": "1000000",
  "kernel/keys/root_maxbytes": "25000000",
};

/** Folders of the host that node programs write to; what they write stays in the bed's folder. */
const SHADOWED = ["/var/lib", "/var/log"];

/**
 * Starts a node: containerd, the kubelet, kube-proxy and what puts NetworkPolicies into effect, in namespaces of their own for
 * processes and mounts, which end with this process however it ends, and all pods with them. Takes the images in, and waits until the node is ready.
 *
 * @param folder of the bed; its name becomes that of the node's control group
 * @param layouts folders of images
 */
export async function startMachine(
  processes: Processes,
  plane: ControlPlane,
  folder: string,
  folders: Folders,
  layouts: readonly string[],
): Promise<void> {
  const own = join(folder, "node");
  mkdirSync(own);
  const group = basename(folder);
  makeControlGroup(group);
  const enter = await makeNamespaces(processes, plane, own);
  const start = (name: string, ...command: string[]) => processes.start(name, enter, command);

  start("containerd", "containerd", "--config", configFile(own, "containerd.toml", containerdConfig(own)));
  for (const layout of layouts) await processes.run("import", enter, ["sh", "-c", IMPORT, "sh", layout]);
  start(
    "kubelet",
    join(folders.node!, "kubelet"),
    `--kubeconfig=${plane.inner}`,
    `--config=${configFile(own, "kubelet.json", kubeletConfig(own, folder, group))}`,
    `--hostname-override=${NODE}`,
    `--node-ip=${NODE_ADDRESS}`,
    `--root-dir=${join(own, "kubelet")}`,
    `--cert-dir=${join(own, "pki")}`,
  );
  start(
    "kube-proxy",
    join(folders.node!, "kube-proxy"),
    `--config=${configFile(own, "kube-proxy.json", proxyConfig(plane.inner))}`,
  );
  const path = `/api/v1/nodes/${NODE}`;
  await until("the node, ready", START_SECONDS, async () => isReady(await plane.api.get(path)) || undefined, processes);
  start(
    "network-policies",
    join(folders["network-policies"]!, "network-policies"),
    `--kubeconfig=${plane.inner}`,
    `--node=${NODE}`,
    `--services=${SERVICE_NETWORK}`,
  );
  await plane.api.patch(`${path}/status`, [
    { op: "add", path: "/status/capacity/nvidia.com~1gpu", value: String(GPUS) },
  ]);
}

/** @returns words before a program that is to run in them */
async function makeNamespaces(processes: Processes, plane: ControlPlane, own: string): Promise<string[]> {
  const lines = ["set -e", "mount -t tmpfs -o mode=755 tmpfs /run", "mkdir -p /run/netns"];
  for (const path of SHADOWED) {
    const name = path.slice(1).replaceAll("/", "-");
    const [upper, work] = ["upper", "work"].map((each) => join(own, "shadows", name, each));
    lines.push(`mkdir -p '${upper}' '${work}'`);
    lines.push(`mount -t overlay overlay -o 'lowerdir=${path},upperdir=${upper},workdir=${work}' ${path}`);
  }
  mkdirSync(join(own, "kernel"));
  for (const [name, value] of Object.entries(KERNEL_DEFAULTS)) {
    const file = configFile(join(own, "kernel"), name.replaceAll("/", "."), `${value}\n`);
    lines.push(`mount --bind '${file}' /proc/sys/${name}`);
  }
  // The first process of the namespace has to take in what others leave behind, which a waiting shell does.
  lines.push(`touch '${join(own, "ready")}'`, "sleep infinity &", "wait");
  const namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const { pid } = processes.start("node", plane.network.enter, [
    "unshare",
    ...namespaces,
    "sh",
    "-c",
    lines.join("\n"),
  ]);
  await until("the node's namespaces", START_SECONDS, () => existsSync(join(own, "ready")) || undefined, processes);
  const held = `/proc/${pid}/ns`;
  const [command, ...network] = plane.network.enter;
  const joined = [`--mount=${held}/mnt`, `--pid=${held}/pid_for_children`];
  return [command!, ...network, ...joined, "env", `PATH=${systemPath}`];
}

function configFile(folder: string, name: string, content: string | object): string {
  const file = join(folder, name);
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

function containerdConfig(own: string): string {
  const plugins = join(own, "network");
  mkdirSync(plugins);
  configFile(plugins, "10-bed.conflist", {
    cniVersion: "0.4.0",
    name: "bed",
    plugins: [
      {
        type: "bridge",
        bridge: "pods",
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: "/run/cni",
          ranges: [[{ subnet: POD_NETWORK }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
  return `version = 2
root = "${join(own, "containerd")}"
state = "/run/containerd"
[grpc]
  address = "${SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${join(own, "opt")}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${SYSTEM_IMAGE}"
  disable_apparmor = true
  # Where root lacks CAP_SYS_RESOURCE, no container starts otherwise.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI_PLUGINS}"
    conf_dir = "${plugins}"
`;
}

function kubeletConfig(own: string, folder: string, group: string): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    // Nobody asks it for logs or a shell.
    enableServer: false,
    authentication: { anonymous: { enabled: false }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    healthzPort: 0,
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${group}`,
    failCgroupV1: false,
    failSwapOn: false,
    protectKernelDefaults: true,
    clusterDomain: DNS_DOMAIN,
    clusterDNS: [DNS_ADDRESS],
    resolvConf: configFile(own, "resolv.conf", "# names of the cluster only\n"),
    containerRuntimeEndpoint: `unix://${SOCKET}`,
    podLogsDir: join(folder, "logs", "pods"),
    rotateCertificates: false,
    enforceNodeAllocatable: ["pods"],
    // What it does about a full disk is none of the bed's business.
    evictionHard: { "memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    syncFrequency: "10s",
    maxPods: 60,
  };
}

function proxyConfig(kubeconfig: string): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig },
    clusterCIDR: POD_NETWORK,
    mode: "iptables",
    hostnameOverride: NODE,
    healthzBindAddress: "127.0.0.1:10256",
    metricsBindAddress: "127.0.0.1:10249",
    // Limits of the whole host stay as they are.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    iptables: { minSyncPeriod: "0s", syncPeriod: "30s" },
  };
}

/** Of a node or a pod. */
export function isReady({ status }: KubernetesObject): boolean {
  const conditions = (status?.conditions ?? []) as Array<{ type: string; status: string }>;
  return conditions.some(({ type, status: value }) => type === "Ready" && value === "True");
}
