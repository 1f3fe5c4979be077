import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { pluginPath } from "../fake/kubernetes/pluginPath";
import { UserProject } from "../userProject";

/** A user's folder with a service for Kubernetes; the engine finds Pulumi's plugin, or the fake of it where there is none. */
export class KubernetesProject extends UserProject {
  /** @param withEffects whether the fake is taken in any case, for what it publishes of its work */
  constructor(kubernetes: Record<string, unknown>, config: Record<string, unknown> = {}, withEffects = false) {
    super(
      "kubernetes",
      { target: "kubernetes", kubernetes, startupTimeoutSeconds: 90, ...config },
      { PATH: pluginPath(process.env, withEffects) },
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
