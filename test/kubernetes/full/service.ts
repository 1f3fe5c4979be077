import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { type Endpoint, Load } from "../../../rollout/demo/load";
import { InvariantWatch } from "../../e2e/invariants";

import type { KubernetesObject } from "../bed/api";
import { type Bed, startBed } from "../bed/bed";
import { RAY_IMAGE } from "../bed/full/images";
import { GATEWAY_CLASS } from "../bed/gateway";
import { KubernetesProject } from "../project";
import { applyExample } from "../service";
import { kubernetesSources } from "./sources";
import { Streams } from "./streams";

/** Replicas at 100%, a worker with a GPU each; more workers find no place on a node with two processors. */
export const replicas = 2;
export const surge = 50;
export const mostWorkers = (replicas * (100 + surge)) / 100;

/** What two processors answer beside clusters that start. */
const REQUESTS_A_SECOND = 10;
const LOOK_MS = 500;
const SERVICE = "versions";

/** What was seen while something ran. */
export interface Observed<T> {
  result: T;
  seconds: number;
  /** Worker pods of each version, one number after the other. */
  workersOf: Record<string, number[]>;
  watch: InvariantWatch;
  load: Load["counts"];
  streams: Streams;
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

  /** @param versions all that may ever be about */
  static async start(versions: readonly string[]): Promise<FullService> {
    const bed = await startBed("full");
    try {
      const namespace = await bed.namespace();
      await applyExample(bed, namespace, "access.yaml");
      const kubeconfig = await bed.kubeconfigFor(namespace, "rayshift");
      const project = new KubernetesProject(
        { kubeconfig, context: bed.context, namespace, gateway: { name: "edge", className: GATEWAY_CLASS } },
        { idleTimeoutSeconds: 3, drainTimeoutSeconds: 5, startupTimeoutSeconds: 300 },
      );
      return new FullService(bed, namespace, project, versions);
    } catch (error) {
      await bed.stop();
      throw error;
    }
  }

  get folder(): string {
    return this.project.folder;
  }

  /** A service file of the version. */
  file(version: string, environment: Record<string, string> = {}): string {
    const file = join(this.folder, `${version}.yaml`);
    const service = {
      name: SERVICE,
      version_name: version,
      image_uri: RAY_IMAGE,
      env_vars: { VERSION: version, ...environment },
      applications: [
        {
          import_path: "versions:app",
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

  /** Where Envoy answers, on this host, and the token for it. */
  async reach(): Promise<Endpoint> {
    if (this.endpoint !== undefined) return this.endpoint;
    const outputs = JSON.parse((await this.project.pulumi("stack", "output", "--json", "--show-secrets")).stdout);
    const { hostname, port } = new URL(outputs.url);
    const own = await this.bed.open(Number(port || 80), hostname);
    this.endpoint = { url: `http://127.0.0.1:${own}`, token: outputs.queryAuthToken };
    return this.endpoint;
  }

  /** Runs something under load: no invariant may be broken, no request may fail and no answer be cut off. */
  async safely<T>(run: () => Promise<T>): Promise<Observed<T>> {
    const endpoint = await this.reach();
    const { watch, workersOf } = this.watch();
    const load = new Load(endpoint, REQUESTS_A_SECOND);
    const streams = new Streams(endpoint);
    const began = Date.now();
    let result: T;
    let seconds: number;
    try {
      result = await run();
      seconds = (Date.now() - began) / 1000;
    } finally {
      await watch.stop();
      await Promise.all([load.stop(), streams.stop()]);
    }
    const { times: _, ...counts } = load.counts;
    assert.deepEqual(watch.violations, []);
    assert.equal(counts.failed, 0, JSON.stringify(counts));
    assert.deepEqual(streams.cut, [], `of ${streams.sent} streams`);
    assert.ok(counts.sent > REQUESTS_A_SECOND, `${counts.sent} requests`);
    // Fewer than this prove nothing.
    assert.ok(watch.weighed >= 10, `${watch.weighed} of ${watch.samples} samples with weights`);
    return { result, seconds, workersOf, watch, load: load.counts, streams };
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

  async list(group: string, plural: string): Promise<KubernetesObject[]> {
    const path = `${group}/namespaces/${this.namespace}/${plural}`;
    return (await this.bed.api.get<{ items: KubernetesObject[] }>(path)).items;
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
