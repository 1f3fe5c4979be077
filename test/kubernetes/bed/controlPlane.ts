import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Api } from "./api";
import type { Folders } from "./binaries";
import { API_PORT, makeNetwork, type Network, NODE_ADDRESS, type Pods } from "./network";
import type { Processes } from "./processes";
import { until } from "./until";

/** In the bed's own network namespace. */
const ETCD = "http://127.0.0.1:2379";
const ETCD_PEER = "http://127.0.0.1:2380";
export const SERVICE_NETWORK = "10.96.0.0/16";
export const CONTEXT = "rayshift-bed";

const START_SECONDS = 120;
/** Longer than the whole matrix of kills takes. */
const TOKEN_SECONDS = 86_400;

/** In the bed's folder: what service accounts asked for, a JSON object a line. */
export const AUDIT_LOG = "audit.jsonl";
const AUDIT_POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  rules: [{ level: "Metadata", userGroups: ["system:serviceaccounts"] }, { level: "None" }],
};

/** A running API server, and how it is reached. */
export interface ControlPlane {
  network: Network;
  api: Api;
  /** For programs on this host; mode 0600. */
  kubeconfig: string;
  /** The same with the rights of a service account. */
  kubeconfigFor(namespace: string, account: string): Promise<string>;
  /** For programs in the namespace; mode 0600. */
  inner: string;
  /** PEM: what service accounts' tokens are signed with. */
  signingKey: string;
  /** PEM: what the API server's certificate is checked with. */
  authority: string;
}

/**
 * Starts etcd and the API server. The API server makes a certificate of its own; its administrator has a token that is
 * drawn for this bed.
 *
 * @param folder of the bed: etcd's data, keys and kubeconfigs
 * @param pods how they are reached, and whether they reach the API server
 */
export async function startControlPlane(
  processes: Processes,
  folder: string,
  parts: Folders,
  pods: Pods = "answered",
): Promise<ControlPlane> {
  const keys = join(folder, "keys");
  mkdirSync(keys, { mode: 0o700 });
  const token = randomBytes(32).toString("hex");
  const tokens = secret(join(keys, "tokens.csv"), `${token},admin,admin,"system:masters"\n`);
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const signingKey = secret(join(keys, "service-accounts.key"), privateKey);
  const network = await makeNetwork(processes, pods);

  processes.start("etcd", network.enter, [
    join(parts.etcd!, "etcd"),
    `--data-dir=${join(folder, "etcd")}`,
    `--listen-client-urls=${ETCD}`,
    `--advertise-client-urls=${ETCD}`,
    `--listen-peer-urls=${ETCD_PEER}`,
    `--initial-advertise-peer-urls=${ETCD_PEER}`,
    `--initial-cluster=default=${ETCD_PEER}`,
    // Nothing of it has to outlive the machine.
    "--unsafe-no-fsync",
    "--log-level=warn",
  ]);
  processes.start("kube-apiserver", network.enter, [
    join(parts["control-plane"]!, "kube-apiserver"),
    `--etcd-servers=${ETCD}`,
    `--secure-port=${API_PORT}`,
    "--bind-address=127.0.0.1",
    `--advertise-address=${NODE_ADDRESS}`,
    `--cert-dir=${keys}`,
    `--token-auth-file=${tokens}`,
    `--audit-policy-file=${secret(join(keys, "audit.json"), JSON.stringify(AUDIT_POLICY))}`,
    `--audit-log-path=${join(folder, AUDIT_LOG)}`,
    "--authorization-mode=RBAC",
    `--service-cluster-ip-range=${SERVICE_NETWORK}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${signingKey}`,
    `--service-account-signing-key-file=${signingKey}`,
    `--endpoint-reconciler-type=${pods === "routed" ? "lease" : "none"}`,
    "--profiling=false",
  ]);

  // Its own certificate and the one it is signed with.
  const authority = join(keys, "apiserver.crt");
  await until("the API server's certificate", START_SECONDS, () => existsSync(authority) || undefined, processes);
  const outerPort = await network.open(API_PORT);
  const describe = (port: number, whose: string) =>
    kubeconfigOf(`https://127.0.0.1:${port}`, readFileSync(authority), whose);
  const kubeconfig = secret(join(folder, "kubeconfig"), describe(outerPort, token));
  const inner = secret(join(keys, "kubeconfig"), describe(API_PORT, token));
  const api = new Api(kubeconfig);
  await until("the API server", START_SECONDS, () => api.get<string>("/readyz"), processes);
  const kubeconfigFor = async (namespace: string, account: string) => {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
    const { status } = await api.create(path, { spec: { expirationSeconds: TOKEN_SECONDS } });
    return secret(join(keys, `${namespace}-${account}`), describe(outerPort, String(status.token)));
  };
  return { network, api, kubeconfig, kubeconfigFor, inner, signingKey, authority };
}

function kubeconfigOf(server: string, authority: Buffer, token: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: CONTEXT, cluster: { server, "certificate-authority-data": authority.toString("base64") } }],
    users: [{ name: CONTEXT, user: { token } }],
    contexts: [{ name: CONTEXT, context: { cluster: CONTEXT, user: CONTEXT } }],
    "current-context": CONTEXT,
  });
}

function secret(file: string, text: string): string {
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}
