import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { type Manifest, Objects } from "../fake/kubernetes/objects";
import { fakePlugin } from "../fake/kubernetes/pluginPath";
import { root } from "../setup/support";
import type { KubernetesObject } from "./bed/api";
import { type Bed, startBed } from "./bed/bed";
import { ENVOY_PORT, GATEWAY_CLASS, GATEWAY_NAMESPACE } from "./bed/gateway";
import { KubernetesProject } from "./project";
import { Traffic } from "./traffic";

export interface ServiceOptions {
  /** Fake machines, with 16 CPUs and so many GPUs each. */
  nodes: number;
  gpusPerNode: number;
  /** What the namespace may have at once. */
  quota: { pods: number; gpus: number };
  /** Whether the stack's config names the account's kubeconfig; else the environment does. */
  named?: boolean;
  /** Of the stack, beside short times. */
  config?: Record<string, unknown>;
  /** Whether the test goes by what Pulumi's plugin does, which only its fake tells. */
  withEffects?: boolean;
}

/** That of Envoy's admin interface, in the bed's network. */
const ENVOY_ADMIN_PORT = 29000;

/**
 * A bed of level gateway with a namespace, an account that has the rights of the example and no others, and a user's
 * project in it. Fakes: nodes, and what runs in the pods; the gateway is Envoy's.
 */
export class ServiceOnBed {
  private readonly sent: Traffic[] = [];

  private constructor(
    readonly bed: Bed,
    readonly namespace: string,
    /** Of the account. */
    readonly kubeconfig: string,
    readonly project: KubernetesProject,
    /** Where Envoy answers on this host. */
    readonly url: string,
    /** Where its admin interface answers. */
    readonly envoyAdmin: string,
  ) {}

  static async start(options: ServiceOptions): Promise<ServiceOnBed> {
    const { nodes, gpusPerNode, quota, named = true, config = {}, withEffects = false } = options;
    const bed = await startBed("gateway");
    try {
      for (let index = 0; index < nodes; index++) {
        await bed.addNode({ name: `gpu-${index}`, cpus: 16, gpus: gpusPerNode });
      }
      const namespace = await bed.namespace();
      await applyExample(bed, namespace, "access.yaml");
      const kubeconfig = await bed.kubeconfigFor(namespace, "rayshift");
      // One pod or GPU more is refused by the API server.
      await bed.api.create(`/api/v1/namespaces/${namespace}/resourcequotas`, {
        metadata: { name: "fits" },
        spec: { hard: { pods: String(quota.pods), "requests.nvidia.com/gpu": String(quota.gpus) } },
      });
      const where = { namespace, gateway: { name: "edge", className: GATEWAY_CLASS } };
      const times = { idleTimeoutSeconds: 1, drainTimeoutSeconds: 2, startupTimeoutSeconds: 300 };
      const project = new KubernetesProject(
        withEffects ? fakePlugin : bed.plugin,
        named ? { kubeconfig, context: bed.context, ...where } : where,
        { ...times, ...config },
      );
      const [port, admin] = [await bed.open(ENVOY_PORT), await bed.open(ENVOY_ADMIN_PORT)];
      const local = (opened: number) => `http://127.0.0.1:${opened}`;
      return new ServiceOnBed(bed, namespace, kubeconfig, project, local(port), local(admin));
    } catch (error) {
      await bed.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const each of this.sent) await each.stop();
    await this.project.rayshift("terminate");
    this.project.removeFolder();
    await this.bed.stop();
  }

  async list(path: string): Promise<KubernetesObject[]> {
    return (await this.bed.api.get<{ items: KubernetesObject[] }>(path)).items;
  }

  async rayServices(): Promise<string[]> {
    const all = await this.list(`/apis/ray.io/v1/namespaces/${this.namespace}/rayservices`);
    return all.map(({ metadata }) => metadata.name).sort();
  }

  pods(selector = ""): Promise<KubernetesObject[]> {
    return this.list(`/api/v1/namespaces/${this.namespace}/pods?labelSelector=${encodeURIComponent(selector)}`);
  }

  /** The head of a version's cluster, or its workers. */
  podsOf(version: string, type: "head" | "worker"): Promise<KubernetesObject[]> {
    return this.pods(`rayshift.io/cluster=versions-${version},ray.io/node-type=${type}`);
  }

  deletePod({ metadata: { name } }: KubernetesObject): Promise<void> {
    return this.bed.api.delete(`/api/v1/namespaces/${this.namespace}/pods/${name}`);
  }

  get routePath(): string {
    return `/apis/gateway.networking.k8s.io/v1/namespaces/${this.namespace}/httproutes/versions`;
  }

  /** Each KIND NAME. */
  async routesAndGateways(): Promise<string[]> {
    const path = `/apis/gateway.networking.k8s.io/v1/namespaces/${this.namespace}`;
    const kinds = Object.entries({ HTTPRoute: "httproutes", Gateway: "gateways" });
    const names = async ([kind, plural]: [string, string]) =>
      (await this.list(`${path}/${plural}`)).map(({ metadata }) => `${kind} ${metadata.name}`);
    return (await Promise.all(kinds.map(names))).flat();
  }

  /** What the quota has refused since the bed was started. */
  async refusals(): Promise<string[]> {
    const events = await this.list(`/api/v1/namespaces/${this.namespace}/events`);
    return events.map(({ message }) => String(message)).filter((message) => message.includes("exceeded quota"));
  }

  async setGpuQuota(gpus: number): Promise<void> {
    await this.bed.api.patch(`/api/v1/namespaces/${this.namespace}/resourcequotas/fits`, [
      { op: "replace", path: "/spec/hard/requests.nvidia.com~1gpu", value: String(gpus) },
    ]);
  }

  /** A request's headers with the service's token. */
  async headers(): Promise<Record<string, string>> {
    const { stdout } = await this.project.pulumi("stack", "output", "--json", "--show-secrets");
    return { authorization: `Bearer ${(JSON.parse(stdout) as { queryAuthToken: string }).queryAuthToken}` };
  }

  /** Requests through Envoy until they are stopped. */
  async send(perSecond?: number): Promise<Traffic> {
    const traffic = new Traffic(this.url, await this.headers(), perSecond);
    this.sent.push(traffic);
    return traffic;
  }

  /** What Envoy itself counts, by the names of its statistics that contain the text. */
  async envoyCounts(text: string): Promise<Record<string, number>> {
    const answer = await fetch(`${this.envoyAdmin}/stats?format=json&filter=${text}`);
    const { stats } = (await answer.json()) as { stats: Array<{ name?: string; value?: number }> };
    return Object.fromEntries(stats.flatMap(({ name, value }) => (name === undefined ? [] : [[name, value ?? 0]])));
  }
}

/** Applies a file of examples/kubernetes as an administrator would, in the bed's namespaces in place of the example's. */
export async function applyExample(bed: Bed, namespace: string, file: string): Promise<void> {
  const text = readFileSync(join(root, "examples", "kubernetes", file), "utf8")
    .replaceAll("namespace: models", `namespace: ${namespace}`)
    .replaceAll("namespace: envoy-gateway-system", `namespace: ${GATEWAY_NAMESPACE}`);
  const objects = new Objects({ kubeconfig: bed.kubeconfig }, namespace);
  for (const document of parseAllDocuments(text)) await objects.apply("example", document.toJS() as Manifest);
}
