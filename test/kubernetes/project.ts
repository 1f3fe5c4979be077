import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { pluginPath } from "../fake/kubernetes/pluginPath";
import { UserProject } from "../userProject";

/** A user's folder with a service for Kubernetes. */
export class KubernetesProject extends UserProject {
  /** @param plugin folder of the plugin of @pulumi/kubernetes that the engine finds */
  constructor(plugin: string, kubernetes: Record<string, unknown>, config: Record<string, unknown> = {}) {
    super(
      "kubernetes",
      { target: "kubernetes", kubernetes, startupTimeoutSeconds: 90, ...config },
      { PATH: pluginPath(process.env, plugin) },
    );
  }

  /** A service file of the version: replicas of one GPU each, one a worker. */
  serviceFile(version: string, { replicas = 4, environment = {}, image = "rayproject/ray:2.52.1" } = {}): string {
    const file = join(this.folder, `${version}.yaml`);
    const service = {
      name: "versions",
      version_name: version,
      image_uri: image,
      env_vars: { VERSION: version, ...environment },
      applications: [{ import_path: "versions:app", deployments: [{ name: "Versions", num_replicas: replicas }] }],
      compute_config: {
        worker_nodes: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, min_nodes: 0, max_nodes: 8 }],
      },
    };
    writeFileSync(file, stringify(service));
    return file;
  }
}
