import { type ReaperInputs as Common, reaperType } from "../cloud/reaper";
import { clusterLabel, deleteInstance, instancesOf } from "./instances";

export interface ReaperInputs extends Common {
  project: string;
  zone: string;
}

/** `rayserve:gcp:Reaper`: ends the workers of a cluster, by Ray's label. */
export const reaper = reaperType<ReaperInputs>({
  identity: ["project", "zone", "clusterName"],
  async list(inputs, signal) {
    return (await instancesOf(inputs, false, signal)).map(({ name, status }) => ({ name, state: status }));
  },
  async end(inputs, names, signal) {
    for (const name of names) await deleteInstance(inputs, name, signal);
  },
  see: ({ project, zone, clusterName }) =>
    `gcloud compute instances list --project ${project} --zones ${zone} --filter labels.${clusterLabel}=${clusterName}`,
});
