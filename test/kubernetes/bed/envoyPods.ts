import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Api, ApiError, type KubernetesObject } from "./api";
import { GATEWAY_NAMESPACE, writeSecret } from "./gateway";

const ROUND_MS = 200;
const DEPLOYMENTS = `/apis/apps/v1/namespaces/${GATEWAY_NAMESPACE}/deployments?labelSelector=gateway.envoyproxy.io%2Fowning-gateway-name`;

/**
 * Stands in for the kubelet of Envoy Gateway's proxies: runs the Envoy that a Deployment describes, with its arguments,
 * certificates and files, on every address of the bed's network namespace. Two gateways with the same port cannot run at
 * the same time. `node envoyPods.js KUBECONFIG ENVOY FOLDER`; it and its Envoys end with its parent.
 *
 * It does not prove that the image of a proxy starts, nor what becomes of connections when its pods are replaced.
 */
async function main(kubeconfig: string, envoy: string, folder: string): Promise<void> {
  const api = new Api(kubeconfig);
  const running = new Map<string, ChildProcess>();
  for (;;) {
    try {
      const { items } = await api.get<{ items: KubernetesObject[] }>(DEPLOYMENTS);
      const names = items.map(({ metadata }) => metadata.name);
      for (const [name, child] of running) {
        if (names.includes(name) && child.exitCode === null) continue;
        child.kill("SIGKILL");
        running.delete(name);
      }
      for (const deployment of items) {
        const { name } = deployment.metadata;
        if (running.has(name)) continue;
        running.set(name, await start(api, deployment, envoy, join(folder, name)));
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    await sleep(ROUND_MS);
  }
}

async function start(api: Api, deployment: KubernetesObject, envoy: string, folder: string): Promise<ChildProcess> {
  const within = `/api/v1/namespaces/${GATEWAY_NAMESPACE}`;
  const { containers } = deployment.spec.template.spec;
  const { args } = containers.find(({ name }: { name: string }) => name === "envoy") as { args: string[] };
  for (const each of ["certs", "sds"]) mkdirSync(join(folder, each), { recursive: true });
  const { data } = await api.get(`${within}/secrets/envoy`);
  writeSecret(join(folder, "certs"), data);
  const files = await api.get(`${within}/configmaps/${deployment.metadata.name}`);
  for (const [name, text] of Object.entries(files.data as Record<string, string>)) {
    writeFileSync(join(folder, "sds", name), here(text, folder));
  }
  const words = args.map((word) => here(word, folder).replace(/\$\([A-Z_]+\)/g, deployment.metadata.name));
  // Else it would leave shared memory on the host.
  const all = [...words, "--disable-hot-restart"];
  return spawn("setpriv", ["--pdeathsig", "KILL", envoy, ...all], { stdio: "inherit" });
}

/** A text of the container's as it has to be outside of one: paths, Envoy Gateway's name, and ports that Envoy Gateway has itself. */
function here(text: string, folder: string): string {
  return text
    .replaceAll("/certs/", `${folder}/certs/`)
    .replaceAll("/sds/", `${folder}/sds/`)
    .replaceAll(`address: envoy-gateway.${GATEWAY_NAMESPACE}.svc.cluster.local.`, "address: 127.0.0.1")
    .replaceAll("port_value: 1900", "port_value: 2900");
}

void main(process.argv[2]!, process.argv[3]!, process.argv[4]!);
