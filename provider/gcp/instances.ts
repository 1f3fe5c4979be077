import type { GcpInstances } from "../serve/dashboard";
import { ComputeRefused, compute } from "./compute";

/** The labels that Ray's autoscaler knows its machines by. */
export const clusterLabel = "ray-cluster-name";
export const nodeTypeLabel = "ray-node-type";

interface Instance {
  name: string;
  /** In every state that the API lists an instance takes up quota: those that are gone are not listed. */
  status: string;
  labels?: Record<string, string>;
}

type Place = Omit<GcpInstances, "cloud">;

const pathOf = ({ project, zone }: Place) => `projects/${project}/zones/${zone}/instances`;

/** A cluster's machines that are not gone, stopped ones too; the head and the workers, or the workers alone. */
export async function instancesOf(
  place: Place,
  workersOnly: boolean,
  signal?: AbortSignal,
): Promise<Array<{ name: string; status: string }>> {
  const filter = `labels.${clusterLabel}=${place.clusterName}`;
  const found: Instance[] = [];
  for (let page = ""; ; ) {
    const query = new URLSearchParams({ filter, ...(page === "" ? {} : { pageToken: page }) });
    const answer = await compute<{ items?: Instance[]; nextPageToken?: string }>(
      "GET",
      `${pathOf(place)}?${query}`,
      signal,
    );
    found.push(...(answer.items ?? []));
    page = answer.nextPageToken ?? "";
    if (page === "") break;
  }
  return found
    .filter(({ labels }) => !workersOnly || labels?.[nodeTypeLabel] === "worker")
    .map(({ name, status }) => ({ name, status }));
}

/** How many workers of a cluster there are, whatever Ray says: one that ends still takes up quota. */
export async function countWorkerInstances(place: Place, signal?: AbortSignal): Promise<number> {
  return (await instancesOf(place, true, signal)).length;
}

/** Tells Compute Engine to delete a machine, which takes it a minute or two. Nothing happens to one that is gone. */
export async function deleteInstance(place: Place, name: string, signal?: AbortSignal): Promise<void> {
  try {
    await compute("DELETE", `${pathOf(place)}/${name}`, signal);
  } catch (error) {
    if (!(error instanceof ComputeRefused && error.status === 404)) throw error;
  }
}
