import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { root } from "../setup/support";
import { type Ran, UserProject } from "../userProject";

/** A user's folder with a service for a cloud; the engine finds the fakes of Pulumi's plugins. */
export class CloudProject extends UserProject {
  constructor(
    private readonly target: "aws" | "gcp",
    settings: Record<string, unknown>,
    cloud: NodeJS.ProcessEnv,
    config: Record<string, unknown> = {},
  ) {
    super(
      "cloud",
      { target, [target]: settings, startupTimeoutSeconds: 60, ...config },
      { ...cloud, PATH: `${join(root, "test", "fake", "bin")}:${process.env.PATH}` },
    );
  }

  /** What a plain preview says of a first deploy; the stack is there then, and nothing in it. */
  async plannedFirst(version: string): Promise<Ran> {
    this.configure({ service: parse(readFileSync(this.serviceFile(version), "utf8")) });
    await this.pulumi("stack", "init");
    const preview = await this.pulumi("preview");
    await this.pulumi("stack", "rm", "--yes", "--preserve-config");
    this.configure({ service: undefined });
    return preview;
  }

  /** The stack's own, secrets too. */
  async outputs(): Promise<{ url: string; queryAuthToken: string }> {
    return JSON.parse((await this.pulumi("stack", "output", "--json", "--show-secrets")).stdout);
  }

  /** A service file of the version: replicas of one GPU each, one a worker. */
  serviceFile(version: string, { replicas = 4, environment = {} } = {}): string {
    const [head, worker] = this.target === "aws" ? ["m5.large", "g5.xlarge"] : ["n2-standard-4", "g2-standard-4"];
    const file = join(this.folder, `${version}.yaml`);
    const service = {
      name: "versions",
      version_name: version,
      image_uri: "rayproject/ray:2.60.0-py311-gpu",
      env_vars: { VERSION: version, ...environment },
      applications: [{ import_path: "versions:app", deployments: [{ name: "Versions", num_replicas: replicas }] }],
      compute_config: {
        head_node: { instance_type: head },
        worker_nodes: [{ name: "gpu", instance_type: worker, min_nodes: 0, max_nodes: 8 }],
      },
    };
    writeFileSync(file, stringify(service));
    return file;
  }
}
