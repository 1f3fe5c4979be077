import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { answerDashboard, answerUser, refuse } from "../../fake/rest";
import { FakeServe } from "../../fake/serve";
import { Api, ApiError, type KubernetesObject } from "./api";
import { PodNodes } from "./podNodes";
import { groupsOf, headResources, idleMs } from "./rayPods";

const DASHBOARD_PORT = 8265;
const SERVE_PORT = 8000;
const ROUND_MS = 100;
const RETRY_MS = 500;
/** For which Serve's proxy stays on a worker without replicas, at least; Ray's own is 30 s. */
const PROXY_DRAIN_MS = 2000;

/** What a head pod would run. */
interface Head {
  serve: FakeServe;
  nodes: PodNodes;
}

/** Objects of a list by their namespace and name, kept up to date. */
class Followed {
  readonly objects = new Map<string, KubernetesObject>();

  constructor(
    private readonly api: Api,
    private readonly path: string,
  ) {
    void this.follow();
  }

  private async follow(): Promise<void> {
    for (;;) {
      // A watch that begins anew tells of everything that is there; what went meanwhile it does not tell of.
      const seen = new Set<string>();
      const forget = setTimeout(() => {
        for (const key of this.objects.keys()) if (!seen.has(key)) this.objects.delete(key);
      }, RETRY_MS);
      try {
        await this.api.watch(this.path, (type, object) => {
          const key = keyOf(object);
          seen.add(key);
          if (type === "DELETED") this.objects.delete(key);
          else if (type !== "ERROR") this.objects.set(key, object);
        });
      } catch (error) {
        process.stderr.write(`${this.path}: ${(error as Error).message}\n`);
      }
      clearTimeout(forget);
      await sleep(RETRY_MS);
    }
  }
}

/**
 * A fake of what runs in Ray's pods, for all of them: Serve's REST and data path on their addresses, by the project's one
 * fake of Serve, and their clusters' autoscalers, which set `replicas` and `workersToDelete` of the RayCluster as Ray's
 * do. `node fakeRay.js KUBECONFIG`, in the network namespace that the pods' addresses belong to.
 *
 * It does not prove that an image has Ray in it or that its processes start, nor anything that {@link FakeServe} and
 * {@link PodNodes} name.
 */
class FakeRay {
  private readonly pods: Followed;
  private readonly clusters: Followed;
  /** By the head pod's uid. */
  private readonly heads = new Map<string, Head>();
  private readonly tokens = new Map<string, string>();
  /** Those of users that are under way, with the pod's uid. */
  private readonly responses = new Map<ServerResponse, string>();

  constructor(private readonly api: Api) {
    this.pods = new Followed(api, "/api/v1/pods?labelSelector=ray.io%2Fnode-type");
    this.clusters = new Followed(api, "/apis/ray.io/v1/rayclusters");
  }

  listen(): void {
    const serve = (port: number, answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>) => {
      const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
        answer(request, response).catch((error: Error) => {
          process.stderr.write(`${error.stack}\n`);
          response.destroy();
        });
      });
      server.listen(port, "0.0.0.0");
    };
    serve(DASHBOARD_PORT, (request, response) => this.dashboard(request, response));
    serve(SERVE_PORT, (request, response) => this.user(request, response));
  }

  /** One round of everything that happens without being asked. */
  async round(): Promise<void> {
    const pods = [...this.pods.objects.values()];
    this.cutOff(pods);
    const heads = pods.filter(isRunningHead);
    for (const uid of this.heads.keys()) {
      if (!heads.some(({ metadata }) => metadata.uid === uid)) this.heads.delete(uid);
    }
    for (const pod of heads) {
      const cluster = this.clusterOf(pod);
      if (cluster === undefined) continue;
      const head = this.headOf(pod, cluster);
      const passing = new Set(this.responses.values());
      head.nodes.observe(groupsOf(cluster), pods.filter(isWorkerOf(cluster)), Date.now(), passing);
      head.serve.details();
      await this.scale(cluster, head.nodes);
      for (const worker of pods.filter(isWorkerOf(cluster))) await this.probe(worker, head.nodes);
    }
  }

  /** What the kubelet's probe of Serve's proxy makes of a worker's pod. */
  private async probe(pod: KubernetesObject, nodes: PodNodes): Promise<void> {
    const { namespace, name, deletionTimestamp } = pod.metadata;
    const conditions = (pod.status?.conditions ?? []) as Array<{ type: string; status: string }>;
    const index = conditions.findIndex(({ type }) => type === "Ready");
    const status = nodes.takesRequests(pod) ? "True" : "False";
    if (deletionTimestamp !== undefined || index < 0 || conditions[index]?.status === status) return;
    try {
      const changed = await this.api.patch(`/api/v1/namespaces/${namespace}/pods/${name}/status`, [
        { op: "test", path: `/status/conditions/${index}/type`, value: "Ready" },
        { op: "replace", path: `/status/conditions/${index}/status`, value: status },
      ]);
      this.pods.objects.set(keyOf(changed), changed);
    } catch (error) {
      // The pod is gone, or another one: the next round sees how it is.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  private headOf(pod: KubernetesObject, cluster: KubernetesObject): Head {
    const uid = String(pod.metadata.uid);
    let head = this.heads.get(uid);
    if (head === undefined) {
      const nodes = new PodNodes(pod, headResources(cluster), PROXY_DRAIN_MS + idleMs(cluster), Date.now());
      head = { nodes, serve: new FakeServe({ nodes }) };
      this.heads.set(uid, head);
    }
    return head;
  }

  /** Writes the autoscaler's wishes down where KubeRay reads them. */
  private async scale(cluster: KubernetesObject, nodes: PodNodes): Promise<void> {
    if (cluster.spec.enableInTreeAutoscaling !== true) return;
    const specs = cluster.spec.workerGroupSpecs as Array<Record<string, unknown>>;
    const operations = nodes.wanted().flatMap(({ group, replicas, workersToDelete }) => {
      const index = specs.findIndex(({ groupName }) => groupName === group);
      const spec = specs[index];
      if (spec === undefined) return [];
      const path = `/spec/workerGroupSpecs/${index}`;
      const { workersToDelete: named = [] } = (spec.scaleStrategy ?? {}) as { workersToDelete?: string[] };
      const same = [...named].sort().join() === [...workersToDelete].sort().join();
      return [
        ...(spec.replicas === replicas ? [] : [{ op: "add", path: `${path}/replicas`, value: replicas }]),
        ...(same ? [] : [{ op: "add", path: `${path}/scaleStrategy`, value: { workersToDelete } }]),
      ];
    });
    if (operations.length === 0) return;
    const { namespace, name, resourceVersion } = cluster.metadata;
    const unchanged = { op: "test", path: "/metadata/resourceVersion", value: resourceVersion };
    try {
      const changed = await this.api.patch(`/apis/ray.io/v1/namespaces/${namespace}/rayclusters/${name}`, [
        unchanged,
        ...operations,
      ]);
      this.clusters.objects.set(keyOf(changed), changed);
    } catch (error) {
      // Somebody else was faster, or the cluster is gone: the next round sees how it is.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  private async dashboard(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pod = this.podAt(request);
    const cluster = pod && this.clusterOf(pod);
    if (pod === undefined || cluster === undefined || !isRunningHead(pod)) return void response.destroy();
    const token = await this.tokenOf(cluster);
    const { authorization, "x-ray-authorization": own } = request.headers;
    if (token !== undefined && ![authorization, own].includes(`Bearer ${token}`)) return refuse(response);
    await answerDashboard(this.headOf(pod, cluster).serve, request, response, (config) => {
      // KubeRay sends what the RayService has, which may leave it out.
      config.target_capacity ??= null;
    });
  }

  private async user(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pod = this.podAt(request);
    const cluster = pod && this.clusterOf(pod);
    const head = cluster && [...this.pods.objects.values()].find((each) => isRunningHead(each) && isOf(cluster)(each));
    if (pod === undefined || cluster === undefined || head === undefined) return void response.destroy();
    this.responses.set(response, String(pod.metadata.uid));
    try {
      await answerUser(this.headOf(head, cluster).serve, request, response);
    } finally {
      this.responses.delete(response);
    }
  }

  /** What a pod that has ended had under way is cut off. */
  private cutOff(pods: readonly KubernetesObject[]): void {
    for (const [response, uid] of this.responses) {
      if (pods.some(({ metadata }) => metadata.uid === uid && metadata.deletionTimestamp === undefined)) continue;
      this.responses.delete(response);
      response.destroy();
    }
  }

  /** Whose address the connection came to. */
  private podAt({ socket }: IncomingMessage): KubernetesObject | undefined {
    const alive = ({ status, metadata }: KubernetesObject) =>
      status?.podIP === socket.localAddress && status?.phase === "Running" && metadata.deletionTimestamp === undefined;
    return [...this.pods.objects.values()].find(alive);
  }

  private clusterOf({ metadata }: KubernetesObject): KubernetesObject | undefined {
    return this.clusters.objects.get(`${metadata.namespace}/${metadata.labels?.["ray.io/cluster"]}`);
  }

  /** Of a cluster that asks for one, as KubeRay makes it. */
  private async tokenOf({ metadata, spec }: KubernetesObject): Promise<string | undefined> {
    if (spec.authOptions?.mode !== "token") return undefined;
    const uid = String(metadata.uid);
    const known = this.tokens.get(uid);
    if (known !== undefined) return known;
    const { data } = await this.api.get(`/api/v1/namespaces/${metadata.namespace}/secrets/${metadata.name}`);
    const token = Buffer.from(String(data.auth_token), "base64").toString();
    this.tokens.set(uid, token);
    return token;
  }
}

const keyOf = ({ metadata }: KubernetesObject) => `${metadata.namespace}/${metadata.name}`;

const isRunningHead = ({ metadata, status }: KubernetesObject) =>
  metadata.labels?.["ray.io/node-type"] === "head" &&
  status?.phase === "Running" &&
  metadata.deletionTimestamp === undefined;

const isOf =
  ({ metadata: { namespace, name } }: KubernetesObject) =>
  ({ metadata }: KubernetesObject) =>
    metadata.namespace === namespace && metadata.labels?.["ray.io/cluster"] === name;

const isWorkerOf = (cluster: KubernetesObject) => (pod: KubernetesObject) =>
  isOf(cluster)(pod) && pod.metadata.labels?.["ray.io/node-type"] === "worker";

async function main(kubeconfig: string): Promise<void> {
  const fake = new FakeRay(new Api(kubeconfig));
  fake.listen();
  for (;;) {
    await fake.round();
    await sleep(ROUND_MS);
  }
}

void main(process.argv[2]!);
