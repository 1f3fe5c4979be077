import { setTimeout as sleep } from "node:timers/promises";
import { type Counts, quantile } from "../../rollout/demo/counts";
import { type Endpoint, Load } from "../../rollout/demo/load";
import type { KubernetesObject } from "../kubernetes/bed/api";
import { type FullService, replicas } from "../kubernetes/full/service";

const perSecond = 10;
const lookMs = 500;
const GATEWAY_API = "/apis/gateway.networking.k8s.io/v1";

/** Takes down a waypoint as it is reached: percent of the old capacity, of the new one, and of the new one's traffic. */
export type Note = (waypoint: string) => void;

/** What a rollout or a way back on Kubernetes took. */
export interface Measured {
  seconds: number;
  /** Of these, those in which no pod of Ray started or ended: whoever decides, Ray's replicas, its proxies that drain. */
  stillSeconds: number;
  /** Of these, those in which a version had more of the traffic than of the workers that it takes. */
  shortSeconds: number;
  counts: Counts;
  /** Ray's pods that took up room at once, heads and workers. */
  peakPods: number;
  /** Each with the seconds from the beginning. */
  reached: Array<{ waypoint: string; seconds: number }>;
}

/** Runs it under load, with a look at Ray's pods twice a second. */
export async function measured(
  service: FullService,
  endpoint: Endpoint,
  run: (note: Note) => Promise<unknown>,
): Promise<Measured> {
  const load = new Load(endpoint, perSecond);
  const began = performance.now();
  const secondsSince = (from: number) => (performance.now() - from) / 1000;
  const seen = { stillSeconds: 0, shortSeconds: 0, peakPods: 0 };
  let over = false;
  const looking = (async () => {
    for (let before: { at: number; still: boolean; short: boolean } | undefined; !over; ) {
      const [pods, routes] = await Promise.all([rayPods(service), service.list(GATEWAY_API, "httproutes")]);
      const now = { at: performance.now(), still: pods.every(isReady), short: areShort(pods, routes) };
      const passed = before === undefined ? 0 : secondsSince(before.at);
      if (now.still && before?.still) seen.stillSeconds += passed;
      if (now.short && before?.short) seen.shortSeconds += passed;
      before = now;
      seen.peakPods = Math.max(seen.peakPods, pods.length);
      await sleep(lookMs);
    }
  })();
  const reached: Measured["reached"] = [];
  try {
    await run((waypoint) => {
      if (reached.at(-1)?.waypoint !== waypoint) reached.push({ waypoint, seconds: secondsSince(began) });
    });
    const seconds = secondsSince(began);
    over = true;
    await Promise.all([looking, load.stop()]);
    return { seconds, ...seen, counts: load.counts, reached };
  } finally {
    over = true;
    await Promise.all([looking, load.stop()]);
  }
}

interface RouteRule {
  matches: Array<{ headers?: unknown }>;
  backendRefs?: Array<{ name: string; weight?: number }>;
}

/** A worker is taken to answer as soon as its pod is Ready, which is before its replica runs. */
function areShort(pods: readonly KubernetesObject[], routes: readonly KubernetesObject[]): boolean {
  const rules: RouteRule[] = routes.flatMap(({ spec }) => spec.rules);
  const forAll = rules.filter(({ matches }) => matches.every(({ headers }) => headers === undefined));
  return forAll
    .flatMap(({ backendRefs = [] }) => backendRefs)
    .some(({ name, weight = 1 }) => {
      const workers = pods.filter(
        (pod) =>
          isReady(pod) &&
          pod.metadata.labels?.["ray.io/node-type"] === "worker" &&
          pod.metadata.labels["ray.io/cluster"]?.startsWith(name.replace(/-serve-svc$/, "")),
      );
      return workers.length < (replicas * weight) / 100;
    });
}

export async function rayPods(service: FullService): Promise<KubernetesObject[]> {
  const pods = await service.list("/api/v1", "pods");
  return pods.filter(({ metadata }) => metadata.labels?.["ray.io/node-type"] !== undefined);
}

export function isReady({ metadata, status }: KubernetesObject): boolean {
  const conditions = (status?.conditions ?? []) as Array<{ type: string; status: string }>;
  return (
    metadata.deletionTimestamp === undefined &&
    conditions.some((condition) => condition.type === "Ready" && condition.status === "True")
  );
}

/** A line of the report, and one of the waypoints. */
export function describe(
  what: string,
  { seconds, stillSeconds, shortSeconds, counts, peakPods, reached }: Measured,
): string {
  const causes = Object.entries(counts.causes).map(([cause, count]) => `${cause}: ${count}`);
  const failed = `${counts.failed} failed${causes.length > 0 ? ` (${causes.join(", ")})` : ""}`;
  const waypoints = reached.map(({ waypoint, seconds: at }) => `${waypoint} at ${at.toFixed(0)} s`);
  return (
    `${what}: ${seconds.toFixed(0)} s, in ${stillSeconds.toFixed(0)} of them no pod started or ended, in ` +
    `${shortSeconds.toFixed(0)} a version had too few workers for its traffic; ${counts.sent} requests, ` +
    `${failed}, at most ${peakPods} pods of Ray; half within ${quantile(counts, 0.5)} ms, 99% within ` +
    `${quantile(counts, 0.99)} ms\n  ${waypoints.join(", ")}\n`
  );
}
