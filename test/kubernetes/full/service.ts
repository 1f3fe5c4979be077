import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { type Endpoint, Load } from "../../../rollout/demo/load";
import { InvariantWatch } from "../../e2e/invariants";
import { commandLine } from "../../userProject";
import { ApiError, type KubernetesObject } from "../bed/api";
import { type Bed, startBed } from "../bed/bed";
import { RAY_IMAGE } from "../bed/full/images";
import { GATEWAY_CLASS } from "../bed/gateway";
import { until } from "../bed/until";
import { KubernetesProject } from "../project";
import { applyExample } from "../service";
import { kubernetesSources } from "./sources";
import { Streams } from "./streams";

/** Replicas at 100%, a worker with a GPU each; more workers find no place on a node with two processors. */
export const replicas = 2;
export const surge = 50;
export const mostWorkers = (replicas * (100 + surge)) / 100;
/** What 100 + surge are made of: each version's head, and the workers. */
const quota = { pods: String(mostWorkers + 2), "requests.nvidia.com/gpu": String(mostWorkers) };

/** What two processors answer beside clusters that start. */
export const REQUESTS_A_SECOND = 10;
const LOOK_MS = 500;
const SERVICE = "versions";

const WITHIN_SECONDS = 300;
const ASK_SECONDS = 8;
/** Where a pod of {@link FullService.fromWithin} has the host's files. */
const HOST = "/host";
/** What the command has said; the API server does not find a node by its name here, and so no pod's log. */
const SAID = "within.log";

/** Tells which of the addresses take a connection within their time; a policy may come into effect after a pod has started. */
const ASKING = `
import json, socket, sys, time
def answers(address):
    host, port = address.rsplit(":", 1)
    end = time.monotonic() + ${ASK_SECONDS}
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False
json.dump([each for each in sys.argv[1:] if answers(each)], open("/dev/termination-log", "w"))
`;

/** What a version is made of. */
export interface VersionOptions {
  environment?: Record<string, string>;
  image?: string;
  importPath?: string;
}

/** How a container has ended. */
interface Terminated {
  exitCode: number;
  message?: string;
}

/** What users saw while something ran. */
export interface Loaded<T> {
  result: T;
  seconds: number;
  load: Load["counts"];
  streams: Streams;
}

/** What was seen beside that. */
export interface Observed<T> extends Loaded<T> {
  /** Worker pods of each version, one number after the other. */
  workersOf: Record<string, number[]>;
  watch: InvariantWatch;
}

/** A bed of level full with a namespace, an account that has the rights of the example, and a user's project in it. */
export class FullService {
  private endpoint: Endpoint | undefined;

  private constructor(
    readonly bed: Bed,
    readonly namespace: string,
    readonly project: KubernetesProject,
    private readonly versions: readonly string[],
  ) {}

  /**
   * @param versions all that may ever be about
   * @param settings of `rayshift:kubernetes`, beside namespace and gateway
   */
  static async start(
    versions: readonly string[],
    { gateway = {}, ...settings }: { gateway?: object; [key: string]: unknown } = {},
  ): Promise<FullService> {
    const bed = await startBed("full");
    try {
      const namespace = await bed.namespace();
      await applyExample(bed, namespace, "access.yaml");
      const kubeconfig = await bed.kubeconfigFor(namespace, "rayshift");
      const project = new KubernetesProject(
        bed.plugin,
        { namespace, gateway: { name: "edge", className: GATEWAY_CLASS, ...gateway }, ...settings },
        { idleTimeoutSeconds: 3, drainTimeoutSeconds: 5, startupTimeoutSeconds: 300 },
      );
      // Not in the stack's config: in a pod its own account is taken.
      process.env.KUBECONFIG = project.environment.KUBECONFIG = kubeconfig;
      return new FullService(bed, namespace, project, versions);
    } catch (error) {
      await bed.stop();
      throw error;
    }
  }

  get folder(): string {
    return this.project.folder;
  }

  /** Lets the namespace have what 100 + surge take, and not one pod or GPU more. */
  async limit(): Promise<void> {
    await this.bed.api.create(`/api/v1/namespaces/${this.namespace}/resourcequotas`, {
      metadata: { name: "fits" },
      spec: { hard: quota },
    });
  }

  /** Whether the API server would let the namespace have one pod more, with so many GPUs; none is made. */
  async admits(gpus: number): Promise<boolean> {
    const resources = { limits: { "nvidia.com/gpu": String(gpus) } };
    const pod = {
      metadata: { name: "one-more" },
      spec: { containers: [{ name: "one", image: RAY_IMAGE, resources }] },
    };
    try {
      await this.bed.api.create(`/api/v1/namespaces/${this.namespace}/pods?dryRun=All`, pod);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 403 && error.message.includes("exceeded quota")) return false;
      throw error;
    }
  }

  /** What the quota has refused so far. */
  async refusals(): Promise<string[]> {
    const events = await this.list("/api/v1", "events");
    return events.map(({ message }) => String(message)).filter((message) => message.includes("exceeded quota"));
  }

  /** A service file of the version, as a good one unless something is given. */
  file(
    version: string,
    { environment = {}, image = RAY_IMAGE, importPath = "versions:app" }: VersionOptions = {},
  ): string {
    const file = join(this.folder, `${version}.yaml`);
    const service = {
      name: SERVICE,
      version_name: version,
      image_uri: image,
      env_vars: { VERSION: version, ...environment },
      applications: [
        {
          import_path: importPath,
          deployments: [{ name: "Versions", num_replicas: replicas, max_ongoing_requests: 20 }],
        },
      ],
      compute_config: {
        head_node: { resources: { CPU: 0.1 } },
        worker_nodes: [{ name: "gpu", resources: { CPU: 0.1, GPU: 1 }, min_nodes: 0, max_nodes: 8 }],
      },
    };
    writeFileSync(file, stringify(service));
    return file;
  }

  /**
   * Gives a command in a pod whose service account has the rights of the example: no kubeconfig, and the API server as a pod
   * finds it. The pod sees the host's files, since no image has Node.js, Pulumi and rayshift.
   *
   * @returns its exit code and what it said
   */
  async fromWithin(...args: string[]): Promise<{ code: number; said: string }> {
    const { exitCode } = await this.ended(podFor("within", this.project, args));
    return { code: exitCode, said: readFileSync(join(this.folder, SAID), "utf8") };
  }

  /** Which of these, each HOST:PORT, a pod of the namespace with these labels can connect to. */
  async reachableFor(labels: Record<string, string>, ...addresses: string[]): Promise<string[]> {
    const container = { name: "asker", image: RAY_IMAGE, command: ["python3", "-c", ASKING, ...addresses] };
    const spec = { restartPolicy: "Never", containers: [container] };
    const { exitCode, message } = await this.ended({ metadata: { name: "asker", labels }, spec });
    assert.equal(exitCode, 0);
    return JSON.parse(message ?? "") as string[];
  }

  /** Lets a pod run to its end, and removes it. */
  private async ended(pod: KubernetesObject): Promise<Terminated> {
    const { name } = pod.metadata;
    const pods = `/api/v1/namespaces/${this.namespace}/pods`;
    await this.bed.api.create(pods, pod);
    try {
      return await until(`an end of the pod ${name}`, WITHIN_SECONDS, async () => {
        const { status } = await this.bed.api.get(`${pods}/${name}`);
        return status.containerStatuses?.[0]?.state?.terminated as Terminated | undefined;
      });
    } finally {
      await this.bed.api.delete(`${pods}/${name}?gracePeriodSeconds=0`);
    }
  }

  /** Where Envoy answers, on this host, and the token for it. */
  async reach(): Promise<Endpoint> {
    if (this.endpoint !== undefined) return this.endpoint;
    const outputs = JSON.parse((await this.project.pulumi("stack", "output", "--json", "--show-secrets")).stdout);
    const { hostname, port } = new URL(outputs.url);
    const own = await this.bed.open(Number(port || 80), hostname);
    this.endpoint = { url: `http://127.0.0.1:${own}`, token: outputs.queryAuthToken };
    return this.endpoint;
  }

  /** Runs something under load, whatever becomes of the requests. */
  async counted<T>(run: () => Promise<T>): Promise<Loaded<T>> {
    const endpoint = await this.reach();
    const load = new Load(endpoint, REQUESTS_A_SECOND);
    const streams = new Streams(endpoint);
    const began = Date.now();
    let result: T;
    let seconds: number;
    try {
      result = await run();
      seconds = (Date.now() - began) / 1000;
    } finally {
      await Promise.all([load.stop(), streams.stop()]);
    }
    assert.ok(load.counts.sent > REQUESTS_A_SECOND, `${load.counts.sent} requests`);
    return { result, seconds, load: load.counts, streams };
  }

  /** The same: no request may fail and no answer be cut off. */
  async underLoad<T>(run: () => Promise<T>): Promise<Loaded<T>> {
    const loaded = await this.counted(run);
    const { times: _, ...counts } = loaded.load;
    assert.equal(counts.failed, 0, JSON.stringify(counts));
    assert.deepEqual(loaded.streams.cut, [], `of ${loaded.streams.sent} streams`);
    return loaded;
  }

  /** The same, and no invariant may be broken. */
  async safely<T>(run: () => Promise<T>): Promise<Observed<T>> {
    await this.reach();
    const { watch, workersOf } = this.watch();
    const loaded = await this.underLoad(run).finally(() => watch.stop());
    assert.deepEqual(watch.violations, []);
    // Fewer than this prove nothing.
    assert.ok(watch.weighed >= 10, `${watch.weighed} of ${watch.samples} samples with weights`);
    return { ...loaded, workersOf, watch };
  }

  /** The invariants, watched until it is stopped. */
  watch(): { watch: InvariantWatch; workersOf: Record<string, number[]> } {
    const { kubeconfig, api } = this.bed;
    const { namespace, versions } = this;
    const sources = kubernetesSources({ api, kubeconfig, namespace, service: SERVICE, versions });
    const watch = new InvariantWatch(sources, { full: replicas, surge, workers: mostWorkers }, LOOK_MS);
    return { watch, workersOf: sources.workersOf };
  }

  /** Changes the weights behind rayshift's back; primary first. */
  async weigh(weights: readonly number[]): Promise<void> {
    const path = `/apis/gateway.networking.k8s.io/v1/namespaces/${this.namespace}/httproutes/${SERVICE}`;
    const { spec } = await this.bed.api.get(path);
    const rule = (spec.rules as Array<{ backendRefs?: unknown[] }>).findIndex(
      ({ backendRefs }) => backendRefs?.length === weights.length,
    );
    await this.bed.api.patch(
      path,
      weights.map((value, index) => ({
        op: "replace",
        path: `/spec/rules/${rule}/backendRefs/${index}/weight`,
        value,
      })),
    );
  }

  /** Names of the objects of a kind in the namespace. */
  async names(group: string, plural: string): Promise<string[]> {
    return (await this.list(group, plural)).map(({ metadata }) => metadata.name).sort();
  }

  async list(group: string, plural: string, labels = ""): Promise<KubernetesObject[]> {
    const path = `${group}/namespaces/${this.namespace}/${plural}?labelSelector=${encodeURIComponent(labels)}`;
    return (await this.bed.api.get<{ items: KubernetesObject[] }>(path)).items;
  }

  /** The head of a version's cluster, or its workers. */
  async podsOf(version: string, type: "head" | "worker"): Promise<KubernetesObject[]> {
    return this.list("/api/v1", "pods", `rayshift.io/cluster=${SERVICE}-${version},ray.io/node-type=${type}`);
  }

  deletePod({ metadata: { name } }: KubernetesObject): Promise<void> {
    return this.bed.api.delete(`/api/v1/namespaces/${this.namespace}/pods/${name}`);
  }

  rayServices(): Promise<string[]> {
    return this.names("/apis/ray.io/v1", "rayservices");
  }

  /** Ends the service and everything under it. */
  async stop(): Promise<void> {
    try {
      await this.project.rayshift("terminate");
    } finally {
      this.project.removeFolder();
      await this.bed.stop();
    }
  }
}

/** A pod that runs the command line in a user's project, in the host's root, with the token where programs look for it. */
function podFor(name: string, { folder, environment }: KubernetesProject, args: readonly string[]): KubernetesObject {
  const taken = Object.entries(environment).filter(([key]) => /^(PATH$|PULUMI_|RAYSHIFT_)/.test(key));
  const script = `cd "$0" && exec "$@" >${SAID} 2>&1`;
  const command = ["chroot", HOST, "sh", "-c", script, folder, process.execPath, commandLine, ...args];
  const token = [
    { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
    { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
    { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
  ];
  return {
    metadata: { name },
    spec: {
      restartPolicy: "Never",
      serviceAccountName: "rayshift",
      automountServiceAccountToken: false,
      containers: [
        {
          name,
          image: RAY_IMAGE,
          command,
          // A home without a kubeconfig.
          env: [...taken, ["HOME", folder]].map(([key, value]) => ({ name: key, value })),
          volumeMounts: [
            { name: "host", mountPath: HOST },
            // /var/run leads there.
            { name: "token", mountPath: `${HOST}/run/secrets/kubernetes.io/serviceaccount`, readOnly: true },
          ],
        },
      ],
      volumes: [
        { name: "host", hostPath: { path: "/" } },
        { name: "token", projected: { sources: token } },
      ],
    },
  };
}
