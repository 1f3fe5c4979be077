import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Api, KubernetesObject } from "./api";
import type { Processes } from "./processes";
import { until } from "./until";

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ESTABLISH_SECONDS = 60;

/**
 * Creates the custom resource definitions of the folders, and waits until objects of their kinds are taken.
 *
 * @param folders each with one definition a file, as JSON
 */
export async function installDefinitions(api: Api, folders: readonly string[], processes: Processes): Promise<void> {
  const files = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  const definitions = files.map((file) => JSON.parse(readFileSync(file, "utf8")) as KubernetesObject);
  await Promise.all(definitions.map((each) => api.create(DEFINITIONS, each)));
  for (const definition of definitions) {
    const { name } = definition.metadata;
    await until(`${name}, established`, ESTABLISH_SECONDS, () => established(api, definition), processes);
  }
}

/** The condition of this name comes a moment before the path does. */
async function established(api: Api, { spec }: KubernetesObject): Promise<true> {
  const version = (spec.versions as Array<{ name: string; served: boolean }>).find(({ served }) => served);
  await api.get(`/apis/${spec.group}/${version?.name}/${spec.names.plural}?limit=1`);
  return true;
}
