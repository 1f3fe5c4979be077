import { availableParallelism } from "node:os";
import * as pulumi from "@pulumi/pulumi";
import type { ClusterInputs } from "../../provider/local/cluster";
import type { DashboardEndpoint } from "../../provider/serve/dashboard";
import { resourcesOf } from "../instanceTypes";
import type { PlacedVersion } from "../record";
import type { ClusterComponent, TargetSettings } from "../target";
import { type LocalHost, runtimeDirectory } from "./host";
import { Cluster } from "./resources";

export interface LocalClusterArgs {
  host: LocalHost;
  settings: TargetSettings;
  version: PlacedVersion;
}

/** Of a cluster on this host, which always has a token. */
export interface LocalAddress extends DashboardEndpoint {
  dashboardTokenFile: string;
  /** `HOST:PORT` */
  serveAddress: string;
}

/** One version's real Ray cluster of processes on this host. */
export class LocalCluster extends pulumi.ComponentResource implements ClusterComponent {
  readonly address: pulumi.Output<LocalAddress>;
  readonly grpcPort: pulumi.Output<number>;
  constructor(
    name: string,
    { host, settings, version }: LocalClusterArgs,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super("rayshift:local:Cluster", name, {}, options);
    const compute = version.spec.compute_config;
    const cluster = new Cluster(
      name,
      {
        directory: runtimeDirectory({
          home: host.home,
          project: pulumi.getProject(),
          stack: pulumi.getStack(),
          part: name,
        }),
        clusterName: `${settings.service}-${version.cluster}`,
        python: host.python,
        head: headResources(compute),
        workers: compute.worker_nodes.map((group) => ({
          name: group.name ?? group.instance_type ?? "worker",
          ...logicalResources(group),
          minNodes: group.min_nodes,
          maxNodes: group.max_nodes,
        })),
        idleTimeoutSeconds: settings.idleTimeoutSeconds,
      },
      // A version is immutable, and so is its cluster: settings of the stack, or another table of instance types, are
      // for the clusters to come and must not replace one that runs.
      { parent: this, ignoreChanges: ["head", "workers", "idleTimeoutSeconds", "python"] },
    );
    this.grpcPort = cluster.grpcPort;
    this.address = pulumi
      .all([cluster.dashboardUrl, cluster.dashboardTokenFile, cluster.serveAddress])
      .apply(([dashboardUrl, dashboardTokenFile, serveAddress]) => ({
        dashboardUrl,
        dashboardTokenFile,
        serveAddress,
      }));
    this.registerOutputs({ address: this.address });
  }
}

type ComputeConfig = PlacedVersion["spec"]["compute_config"];

/** Beside worker groups the head runs no replicas, as on the other targets; alone it has what this host has. */
function headResources({ head_node: head, worker_nodes: workers }: ComputeConfig): ClusterInputs["head"] {
  if (head?.resources !== undefined) return logicalResources(head);
  return { cpus: workers.length > 0 ? 0 : availableParallelism(), gpus: 0 };
}

/** What Ray is told that a node has; on this host that is bookkeeping, nobody checks it against the hardware. */
function logicalResources(node: Parameters<typeof resourcesOf>[0]): ClusterInputs["head"] {
  const { cpus, gpus, resources } = resourcesOf(node);
  return { cpus, gpus, ...(Object.keys(resources).length > 0 ? { resources } : {}) };
}
