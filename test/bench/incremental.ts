import { parse, stringify } from "yaml";
import type { Endpoint } from "../../rollout/demo/load";
import { versionAnswering } from "../e2e/project";
import type { KubernetesObject } from "../kubernetes/bed/api";
import { GATEWAY_CLASS } from "../kubernetes/bed/gateway";
import { until } from "../kubernetes/bed/until";
import { type FullService, replicas, surge } from "../kubernetes/full/service";
import { isReady, type Note, rayPods } from "./measured";

const waitSeconds = 900;
const name = "incremental";

/** KubeRay's own incremental upgrade (alpha in 1.5) of what rayshift's RayService runs, on the same bed. */
export class Incremental {
  private constructor(
    private readonly service: FullService,
    private readonly made: KubernetesObject,
  ) {}

  /**
   * The first version, with the gateway that KubeRay makes for it.
   *
   * @param made a RayService of rayshift's
   */
  static async start(
    service: FullService,
    made: KubernetesObject,
  ): Promise<{ upgrade: Incremental; endpoint: Endpoint }> {
    const { api } = service.bed;
    const upgrade = new Incremental(service, made);
    await upgrade.apply("v1");
    const gateway = `/apis/gateway.networking.k8s.io/v1/namespaces/${service.namespace}/gateways/${name}-gateway`;
    const address = await until("KubeRay's gateway", waitSeconds, async () => {
      const { status } = await api.get(gateway);
      return status?.addresses?.[0]?.value as string | undefined;
    });
    const endpoint = { url: `http://127.0.0.1:${await service.bed.open(80, address)}`, token: undefined };
    const answers = async () => (await versionAnswering(endpoint)) === "v1" || undefined;
    await until("KubeRay's first version", waitSeconds, answers);
    await upgrade.settled("v1");
    return { upgrade, endpoint };
  }

  /** Asks for the version, and waits until its pods alone are there. */
  async to(version: string, note: Note): Promise<void> {
    await this.apply(version);
    await this.settled(version, note);
  }

  /** Asks for the version, and waits until it gets this percent of the traffic. */
  async toTraffic(version: string, percent: number): Promise<void> {
    await this.apply(version);
    await until(`${percent}% of the traffic`, waitSeconds, async () => {
      const { pendingServiceStatus } = await this.status();
      return (pendingServiceStatus?.trafficRoutedPercent ?? 0) >= percent || undefined;
    });
  }

  async end(): Promise<void> {
    await this.service.bed.api.delete(this.path);
    await until("its end", waitSeconds, async () => (await rayPods(this.service)).length === 0 || undefined);
  }

  private get path(): string {
    return `/apis/ray.io/v1/namespaces/${this.service.namespace}/rayservices/${name}`;
  }

  private async status(): Promise<KubernetesObject["status"]> {
    return (await this.service.bed.api.get(this.path)).status ?? {};
  }

  private async settled(version: string, note: Note = () => {}): Promise<void> {
    await until(`KubeRay's ${version} alone`, waitSeconds, async () => {
      const { activeServiceStatus: active, pendingServiceStatus: pending } = await this.status();
      if (pending?.rayClusterName) {
        const [old, now] = [active?.targetCapacity ?? 100, pending.targetCapacity ?? 0];
        note(`${old} ${now} ${pending.trafficRoutedPercent ?? 0}`);
      }
      const pods = await rayPods(this.service);
      const own = pods.filter((pod) => pod.metadata.labels?.version === version && isReady(pod));
      return (own.length === replicas + 1 && pods.length === own.length) || undefined;
    });
  }

  /** `version` is told to the pods too, so that they differ. */
  private async apply(version: string): Promise<void> {
    const { spec } = this.made;
    const { target_capacity: _, ...config } = parse(spec.serveConfigV2) as Record<string, unknown>;
    for (const { runtime_env: environment } of config.applications as Array<{
      runtime_env: { env_vars: Record<string, string> };
    }>) {
      environment.env_vars.VERSION = version;
    }
    const cluster = structuredClone(spec.rayClusterConfig);
    const groups = [cluster.headGroupSpec, ...cluster.workerGroupSpecs];
    for (const { template } of groups) template.metadata = { labels: { version } };
    await this.service.bed.api.apply(this.path, {
      apiVersion: "ray.io/v1",
      kind: "RayService",
      metadata: { name },
      spec: {
        rayClusterConfig: cluster,
        serveConfigV2: stringify(config),
        rayClusterDeletionDelaySeconds: 5,
        upgradeStrategy: {
          type: "NewClusterWithIncrementalUpgrade",
          clusterUpgradeOptions: {
            gatewayClassName: GATEWAY_CLASS,
            maxSurgePercent: surge,
            stepSizePercent: surge,
            intervalSeconds: 1,
          },
        },
      },
    });
  }
}
