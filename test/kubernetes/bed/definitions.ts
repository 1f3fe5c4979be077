import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Api, ApiError, type KubernetesObject } from "./api";
import type { Processes } from "./processes";
import { until } from "./until";

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const INSTALL_SECONDS = 120;

/**
 * Creates the custom resource definitions of the folders, and waits until objects of their kinds are taken.
 *
 * @param folders each with one definition a file, as JSON
 */
export async function installDefinitions(api: Api, folders: readonly string[], processes: Processes): Promise<void> {
  const files = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  const definitions = files.map((file) => JSON.parse(readFileSync(file, "utf8")) as KubernetesObject);
  // One at a time: all at once, the last of them would be refused on a busy machine because they took too long.
  for (const definition of definitions) {
    const { name } = definition.metadata;
    await until(`${name}, created`, INSTALL_SECONDS, () => create(api, definition), processes);
  }
  for (const definition of definitions) {
    const { name } = definition.metadata;
    await until(`${name}, established`, INSTALL_SECONDS, () => established(api, definition), processes);
  }
}

/** Waits until an API server that was started on what another one had taken tells clients of the kinds. */
export async function definitionsAreServed(api: Api, processes: Processes): Promise<void> {
  for (const group of ["ray.io/v1", "gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/v1alpha1"]) {
    await until(`${group}, served`, INSTALL_SECONDS, () => api.get(`/apis/${group}`), processes);
  }
}

async function create(api: Api, definition: KubernetesObject): Promise<true> {
  try {
    await api.create(DEFINITIONS, definition);
  } catch (error) {
    // An earlier attempt was taken, and its answer lost.
    if (!(error instanceof ApiError) || error.status !== 409) throw error;
  }
  return true;
}

/** The condition of this name comes a moment before the path does. */
async function established(api: Api, { spec }: KubernetesObject): Promise<true> {
  const version = (spec.versions as Array<{ name: string; served: boolean }>).find(({ served }) => served);
  await api.get(`/apis/${spec.group}/${version?.name}/${spec.names.plural}?limit=1`);
  return true;
}
