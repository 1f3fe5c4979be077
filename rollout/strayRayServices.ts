import { labelPrefix, labelValue } from "../components/kubernetes/names";
import type { ApiServerAddress } from "../provider/serve/dashboard";
import type { Project } from "./project";

/** A resource of an exported stack, as far as it is looked at. */
export interface HeldResource {
  type: string;
  urn: string;
  id?: string;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

const PROVIDER = "pulumi:providers:kubernetes";
const RAY_SERVICE = "kubernetes:ray.io/v1:RayService";

/**
 * Ends RayServices that were made for a stack's service and that the stack does not hold. Stacks of other people may have
 * the same name, and their services in the same namespace: so only those of the service that this stack holds something of. An engine whose plugin was killed drops the
 * creation that was under way, and nothing else would ever end what it had made. Nothing happens where a stack never was on
 * Kubernetes, or its API server does not answer: the update that follows says so.
 *
 * @returns their names
 */
export async function endStrayRayServices(
  { name, stack }: Project,
  held: readonly HeldResource[],
  signal?: AbortSignal,
): Promise<string[]> {
  const address = addressOf(held);
  if (address === undefined) return [];
  const { ApiServerRefused, ApiServerUnreachable, deleteObject, listObjects } = await import(
    "../provider/kubernetes/api.js"
  );
  const path = `/apis/ray.io/v1/namespaces/${address.namespace}/rayservices`;
  // A stack has one service.
  const [service] = held.flatMap((each) => serviceOf(each) ?? []);
  if (service === undefined) return [];
  const labels = `${labelPrefix}/stack=${labelValue(`${name}/${stack}`)},${labelPrefix}/service=${service}`;
  const selector = encodeURIComponent(labels);
  const ids = held.filter(({ type }) => type === RAY_SERVICE).map(({ id = "" }) => id.split("/").at(-1));
  try {
    const found = await listObjects(address, `${path}?labelSelector=${selector}`, signal);
    const strays = found.map(({ metadata }) => metadata.name).filter((each) => !ids.includes(each));
    for (const stray of strays) await deleteObject(address, `${path}/${stray}`, signal);
    return strays;
  } catch (error) {
    if (error instanceof ApiServerUnreachable || error instanceof ApiServerRefused) return [];
    throw error;
  }
}

/** Where the stack's provider makes its objects. */
function addressOf(held: readonly HeldResource[]): ApiServerAddress | undefined {
  const provider = held.find(({ type }) => type === PROVIDER);
  if (provider === undefined) return undefined;
  const { kubeconfig, context, namespace = "default" } = (provider.inputs ?? {}) as Partial<ApiServerAddress>;
  return { kubeconfig, context, namespace };
}

function serviceOf({ inputs }: HeldResource): string | undefined {
  const { labels } = (inputs?.metadata ?? {}) as { labels?: Record<string, string> };
  return labels?.[`${labelPrefix}/service`];
}
