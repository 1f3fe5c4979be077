import type { RayServiceAddress } from "../serve/dashboard";
import { type KubernetesObject, listObjects } from "./api";

interface ContainerStatus {
  name: string;
  state?: { waiting?: { reason?: string; message?: string }; terminated?: { reason?: string; exitCode?: number } };
  lastState?: { terminated?: { reason?: string; exitCode?: number; message?: string } };
}

interface Container {
  resources?: { requests?: Record<string, string> };
  restartPolicy?: string;
}

/** The part of a pod that is read. */
export interface Pod extends KubernetesObject {
  spec?: { containers?: Container[]; initContainers?: Container[]; overhead?: Record<string, string> };
  status?: {
    phase?: string;
    podIP?: string;
    conditions?: Array<{ type: string; status: string; reason?: string; message?: string }>;
    initContainerStatuses?: ContainerStatus[];
    containerStatuses?: ContainerStatus[];
  };
}

/** Worker pods that still take up what they asked for: one that is being deleted does until it is gone. */
export async function countWorkerPods(address: RayServiceAddress, signal?: AbortSignal): Promise<number> {
  const pods = await podsOf(address, signal);
  return pods.filter((pod) => pod.metadata.labels?.["ray.io/node-type"] === "worker" && takesUp(pod)).length;
}

/** All pods of a RayService's cluster: they carry its label whatever RayCluster they are of. */
export function podsOf({ rayService, namespace, ...server }: RayServiceAddress, signal?: AbortSignal): Promise<Pod[]> {
  const selector = encodeURIComponent(`rayshift.io/cluster=${rayService}`);
  return listObjects<Pod>(server, `/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`, signal);
}

/** Why pods do not start, by Kubernetes' own words; empty when nothing is wrong with them. */
export function troubleOf(pods: readonly Pod[]): string[] {
  const troubles = pods.flatMap(({ metadata, status }) => {
    const waiting = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])].flatMap(
      ({ name, state, lastState }) => {
        const { reason = "", message = "" } = state?.waiting ?? {};
        if (/Err|BackOff|Invalid|CreateContainer/.test(reason)) {
          const ended = lastState?.terminated;
          const exit = ended === undefined ? "" : ` (it ended with ${ended.reason ?? ended.exitCode})`;
          return [`container ${name}: ${reason}${message === "" ? "" : `: ${message}`}${exit}`];
        }
        return [];
      },
    );
    const unscheduled = (status?.conditions ?? [])
      .filter(({ type, status: value }) => type === "PodScheduled" && value === "False")
      .map(({ reason = "", message = "" }) => `${reason}: ${message}`);
    return [...waiting, ...unscheduled].map((why) => `pod ${metadata.name}: ${why}`);
  });
  return [...new Set(troubles)];
}

/** Whether a trouble does not pass by waiting. */
export function isFinal(trouble: string): boolean {
  return /ErrImageNeverPull|InvalidImageName|ImagePullBackOff|CreateContainerConfigError|CrashLoopBackOff/.test(
    trouble,
  );
}

/** What can be done about troubles, the likeliest cause first; Kubernetes' own words leave that open. */
const REMEDIES: ReadonlyArray<readonly [trouble: RegExp, remedy: string]> = [
  [/exceeded quota/, "Raise the quota, or give a smaller `--max-surge-percent`."],
  [
    /ImagePull|ImageNeverPull|InvalidImageName/,
    "Give an image that is there, and what it is pulled with: `registry_login_secret`, `imagePullSecrets`.",
  ],
  [/Insufficient nvidia\.com\/gpu/, "Ask for GPUs that one node has free, or add nodes that offer them."],
  [/Insufficient (cpu|memory)/, "Ask for less in `compute_config`, or add nodes."],
  [
    /node affinity\/selector|untolerated taint/,
    "Add nodes with the labels of `instance_type` and `nodeSelector`, or `tolerations` for their taints.",
  ],
  [/CrashLoopBackOff/, "`kubectl logs --previous` of the pod has its last words."],
];

/** Troubles as sentences, with what can be done about them. */
export function withRemedy(troubles: readonly string[]): string {
  const said = troubles.join("; ");
  const remedy = REMEDIES.find(([known]) => known.test(said))?.[1];
  return `${said.replace(/\.$/, "")}.${remedy === undefined ? "" : ` ${remedy}`}`;
}

interface Event extends KubernetesObject {
  message?: string;
  involvedObject?: { kind?: string; name?: string };
}

/** Messages of the last warnings about objects whose names begin like the RayService's. */
export async function warningsAbout(address: RayServiceAddress, signal?: AbortSignal): Promise<string[]> {
  const path = `/api/v1/namespaces/${address.namespace}/events?fieldSelector=${encodeURIComponent("type=Warning")}`;
  const events = await listObjects<Event>(address, path, signal);
  const own = events.filter(({ involvedObject }) => involvedObject?.name?.startsWith(address.rayService));
  return [...new Set(own.map(({ message = "" }) => message.trim()))].slice(-3);
}

/** Why the cluster has fewer pods than it wants, or pods that do not run, and what to do; undefined when Kubernetes sees nothing wrong. */
export async function whyNoPod(address: RayServiceAddress, signal?: AbortSignal): Promise<string | undefined> {
  const [pods, warnings] = await Promise.all([podsOf(address, signal), warningsAbout(address, signal)]);
  const refused = warnings.filter((message) => /forbidden|exceeded quota|failed quota/i.test(message));
  const troubles = [...troubleOf(pods), ...refused];
  return troubles.length === 0 ? undefined : withRemedy(troubles.slice(0, 3));
}

/** Whether a pod still has what it asked for: also one that is being deleted does. */
export const takesUp = ({ status }: Pod) => !["Succeeded", "Failed"].includes(status?.phase ?? "");
