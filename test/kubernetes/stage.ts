import { readFileSync, writeFileSync } from "node:fs";
import { parse, stringify } from "yaml";
import { status } from "../../rollout/index";
import type { CrashOrder, Victim } from "../chaos/crash";
import { problemsOfPreview, type Stage, watched } from "../chaos/stage";
import { InvariantWatch } from "../e2e/invariants";
import { kubernetesSources } from "./full/sources";
import { ServiceOnBed } from "./service";

const replicas = 24;
const surge = 50;
const mostWorkers = (replicas * (100 + surge)) / 100;
const gpusPerNode = 4;
/** Between two looks, which ask the API server for some forty pods. */
const LOOK_MS = 500;
/** Looks that could tell the weights: fewer prove nothing. */
const FEWEST_LOOKS = 10;

/**
 * A service of dozens of GPU workers on Kubernetes, within a quota that just fits its surge. Real and fake parts as in
 * {@link ServiceOnBed}; the plugin of @pulumi/kubernetes is a fake too, since the kills go by what it publishes of its work.
 */
export class KubernetesStage implements Stage {
  readonly victims: readonly Victim[] = ["driver", "engine", "provider"];

  private constructor(
    private readonly service: ServiceOnBed,
    private readonly versions: readonly string[],
  ) {}

  static async start(versions: readonly string[]): Promise<KubernetesStage> {
    const nodes = mostWorkers / gpusPerNode;
    const quota = { pods: mostWorkers + 2, gpus: mostWorkers };
    return new KubernetesStage(await ServiceOnBed.start({ nodes, gpusPerNode, quota, withEffects: true }), versions);
  }

  stop(): Promise<void> {
    return this.service.stop();
  }

  async begin(version: string): Promise<void> {
    const { code, stderr } = await this.rayshift("deploy", "-f", this.serviceFile(version));
    if (code !== 0) throw new Error(stderr);
  }

  rayshift(...args: string[]) {
    return this.service.project.rayshift(...args);
  }

  watched(args: string[], kill?: CrashOrder["kill"]) {
    return watched(this.service.project, args, kill);
  }

  serviceFile(version: string): string {
    const written = this.service.project.serviceFile(version, { replicas });
    const spec = parse(readFileSync(written, "utf8"));
    for (const group of spec.compute_config.worker_nodes) group.max_nodes = replicas;
    writeFileSync(written, stringify(spec));
    return written;
  }

  async observed<T>(run: () => Promise<T>): Promise<{ result: T; problems: string[] }> {
    const { bed, namespace, kubeconfig, envoyAdmin: envoy } = this.service;
    const { versions } = this;
    const sources = kubernetesSources({ api: bed.api, kubeconfig, namespace, service: "versions", versions, envoy });
    const watch = new InvariantWatch(sources, { full: replicas, surge, workers: mostWorkers }, LOOK_MS);
    const traffic = await this.service.send();
    let answers: Record<string, number> = {};
    let result: T;
    try {
      result = await run();
    } finally {
      await watch.stop();
      answers = await traffic.stop();
    }
    const failed = Object.entries(answers).filter(([answer]) => !versions.includes(answer));
    return {
      result,
      problems: [
        ...watch.violations,
        ...failed.map(([answer, count]) => `I6: ${count} requests: ${answer}`),
        ...(watch.weighed < FEWEST_LOOKS ? [`only ${watch.weighed} of ${watch.samples} looks told the weights`] : []),
      ],
    };
  }

  async problemsAtRest(wanted: string): Promise<string[]> {
    const { state, primary, problems } = await status({ folder: this.service.project.folder });
    const services = await this.service.rayServices();
    const running = primary?.replicas?.running;
    return [
      ...problems,
      ...(state === "RUNNING" ? [] : [`the service is ${state}`]),
      ...(primary?.version === wanted ? [] : [`${primary?.version} is the primary, not ${wanted}`]),
      ...(running === replicas ? [] : [`${running} replicas run`]),
      ...(services.join() === `versions-${wanted}` ? [] : [`there are the RayServices ${services.join(" and ")}`]),
      ...(await this.service.refusals()),
    ];
  }

  problemsOfPreview(): Promise<string[]> {
    return problemsOfPreview(this.service.project);
  }
}
