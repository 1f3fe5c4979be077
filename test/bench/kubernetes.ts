import { setTimeout as sleep } from "node:timers/promises";
import { parse, stringify } from "yaml";
import { type Counts, quantile } from "../../rollout/demo/counts";
import { type Endpoint, Load } from "../../rollout/demo/load";
import { deploy, terminate } from "../../rollout/index";
import { versionAnswering } from "../e2e/project";
import type { KubernetesObject } from "../kubernetes/bed/api";
import { addOperatorArgument } from "../kubernetes/bed/full/systemPods";
import { GATEWAY_CLASS } from "../kubernetes/bed/gateway";
import { until } from "../kubernetes/bed/until";
import { FullService, replicas, surge } from "../kubernetes/full/service";

/**
 * A rollout by rayshift, and one by KubeRay's own incremental upgrade (alpha in 1.5): the same pods on the same node under
 * the same surge and load, one after the other.
 */

const perSecond = 10;
const lookMs = 500;
const waitSeconds = 900;
const name = "incremental";

interface Measured {
  seconds: number;
  counts: Counts;
  /** Ray's pods that took up room at once, heads and workers. */
  peakPods: number;
}

async function measured(service: FullService, endpoint: Endpoint, run: () => Promise<unknown>): Promise<Measured> {
  const load = new Load(endpoint, perSecond);
  let peakPods = 0;
  let over = false;
  const looking = (async () => {
    while (!over) {
      peakPods = Math.max(peakPods, await rayPods(service));
      await sleep(lookMs);
    }
  })();
  const began = performance.now();
  try {
    await run();
    return { seconds: (performance.now() - began) / 1000, counts: load.counts, peakPods };
  } finally {
    over = true;
    await Promise.all([looking, load.stop()]);
  }
}

async function rayPods(service: FullService): Promise<number> {
  const pods = await service.list("/api/v1", "pods");
  return pods.filter(({ metadata }) => metadata.labels?.["ray.io/node-type"] !== undefined).length;
}

/** KubeRay's own rollout of what rayshift's RayService runs; `version` is told to the pods too, so that they differ. */
function incremental({ spec }: KubernetesObject, version: string): KubernetesObject {
  const { target_capacity: _, ...config } = parse(spec.serveConfigV2) as Record<string, unknown>;
  for (const { runtime_env: environment } of config.applications as Array<{
    runtime_env: { env_vars: Record<string, string> };
  }>) {
    environment.env_vars.VERSION = version;
  }
  const cluster = structuredClone(spec.rayClusterConfig);
  const groups = [cluster.headGroupSpec, ...cluster.workerGroupSpecs];
  for (const { template } of groups) template.metadata = { labels: { version } };
  return {
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
  };
}

async function measureIncremental(service: FullService, made: KubernetesObject): Promise<Measured> {
  const { api } = service.bed;
  const within = (group: string, plural: string, own: string) =>
    `${group}/namespaces/${service.namespace}/${plural}/${own}`;
  const path = within("/apis/ray.io/v1", "rayservices", name);
  await addOperatorArgument(api, "--feature-gates=RayServiceIncrementalUpgrade=true");
  await api.apply(path, incremental(made, "v1"));
  const gateway = within("/apis/gateway.networking.k8s.io/v1", "gateways", `${name}-gateway`);
  const address = await until("KubeRay's gateway", waitSeconds, async () => {
    const { status } = await api.get(gateway);
    return status?.addresses?.[0]?.value as string | undefined;
  });
  const endpoint = { url: `http://127.0.0.1:${await service.bed.open(80, address)}`, token: undefined };
  await until(
    "KubeRay's first version",
    waitSeconds,
    async () => (await versionAnswering(endpoint)) === "v1" || undefined,
  );
  await until("its workers", waitSeconds, async () => (await rayPods(service)) === replicas + 1 || undefined);
  try {
    return await measured(service, endpoint, async () => {
      const before = await service.names("/apis/ray.io/v1", "rayclusters");
      await api.apply(path, incremental(made, "v2"));
      await until("KubeRay's rollout", waitSeconds, async () => {
        const now = await service.names("/apis/ray.io/v1", "rayclusters");
        const ended = now.length === 1 && !before.includes(now[0] as string);
        return (ended && (await rayPods(service)) === replicas + 1) || undefined;
      });
    });
  } finally {
    await api.delete(path);
  }
}

const describe = (what: string, { seconds, counts, peakPods }: Measured) => {
  const causes = Object.entries(counts.causes).map(([cause, count]) => `${cause}: ${count}`);
  return (
    `${what}: ${seconds.toFixed(0)} s, ${counts.sent} requests, ${counts.failed} failed${causes.length > 0 ? ` (${causes.join(", ")})` : ""}, ` +
    `at most ${peakPods} pods of Ray; half within ${quantile(counts, 0.5)} ms, 99% within ${quantile(counts, 0.99)} ms`
  );
};

/** The lines of the report. Takes a host for itself, as root. */
export async function measureKubernetes(): Promise<string[]> {
  const service = await FullService.start(["v1", "v2"]);
  try {
    await deploy({ folder: service.folder, file: service.file("v1") });
    const own = await measured(service, await service.reach(), () =>
      deploy({ folder: service.folder, file: service.file("v2"), maxSurgePercent: surge }),
    );
    const path = `/apis/ray.io/v1/namespaces/${service.namespace}/rayservices/versions-v2`;
    const made = await service.bed.api.get(path);
    await terminate({ folder: service.folder });
    const theirs = await measureIncremental(service, made);
    return [
      describe(`rayshift under a surge of ${surge}%`, own),
      describe(`KubeRay's incremental upgrade under a surge of ${surge}%`, theirs),
    ];
  } finally {
    await service.stop();
  }
}
