import { type KubernetesSettings, kubernetesSettings } from "../../../components/kubernetes/settings";

/** The settings as they are read when only these are given. */
export function settings(changes: Record<string, unknown> = {}): KubernetesSettings {
  const { gateway, ...rest } = changes as { gateway?: object };
  return kubernetesSettings.parse({
    image: "example.com/ray:2.52.1-gpu",
    gateway: { name: "shared", ...gateway },
    ...rest,
  });
}
