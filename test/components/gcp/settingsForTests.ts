import { type GcpSettings, gcpSettings } from "../../../components/gcp/settings";

/** What a stack's config has at least. */
export const least = {
  project: "my-project",
  zone: "us-central1-a",
  bootImage: "projects/my-project/global/images/family/ray",
  dashboardCidrs: ["10.0.0.0/8"],
  loadBalancer: { http: true },
};

/** The settings as they are read when only these are given beside the least. */
export function settings(changes: Record<string, unknown> = {}): GcpSettings {
  return gcpSettings.parse({ ...least, ...changes });
}
