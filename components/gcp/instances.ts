import { resourcesOf } from "../instanceTypes";
import type { ServiceSpec, WorkerGroup } from "../serviceSpec";
import { labelsOf, nameOfCluster, nameOfHead, nameOfTemplate, type Owner } from "./names";
import type { GcpSettings } from "./settings";

/** What instances are made of; the names are those of the inputs of Pulumi's provider. */

export interface InstanceArgs {
  owner: Owner;
  /** The version's cluster. */
  cluster: string;
  settings: GcpSettings;
}

/** Families that know no other disks. */
const HYPERDISK_ONLY = /^(n4|c4|a4|a3-ultragpu)\b/;

const SCOPES = ["https://www.googleapis.com/auth/cloud-platform"];

/** The template of a worker group, without what other resources tell: subnetwork, account, tags, and the startup script. */
export function workerTemplate(group: WorkerGroup, { owner, cluster, settings }: InstanceArgs) {
  const { accelerator, diskGb = settings.diskGb } = settings.workerGroups[group.name] ?? {};
  const { gpus } = resourcesOf(group);
  const machineType = group.instance_type ?? "";
  return {
    project: settings.project,
    name: nameOfTemplate(owner, cluster, group.name),
    description: `Workers ${group.name} of ${owner.service}, version ${cluster}`,
    machineType,
    disks: [
      {
        sourceImage: settings.bootImage,
        boot: true,
        autoDelete: true,
        diskSizeGb: diskGb,
        diskType: diskType(machineType),
      },
    ],
    // The GPUs of other types come with the machine.
    ...(accelerator === undefined ? {} : { guestAccelerators: [{ type: accelerator, count: gpus }] }),
    scheduling: scheduling(gpus > 0, group.market_type !== "ON_DEMAND"),
    labels: labelsOf(owner),
    metadata: metadata(),
    scopes: SCOPES,
  };
}

/** Ray ends what it started; nobody else starts a worker again. A machine with GPUs cannot be moved while it runs. */
function scheduling(hasGpus: boolean, spot: boolean) {
  return {
    automaticRestart: false,
    onHostMaintenance: hasGpus || spot ? "TERMINATE" : "MIGRATE",
    preemptible: spot,
    provisioningModel: spot ? "SPOT" : "STANDARD",
    // A spot machine that was taken away would stay as a stopped one, with its disk.
    ...(spot ? { instanceTerminationAction: "DELETE" } : {}),
  };
}

/** The head, without what other resources tell. Google starts it again after a failure, with the same address and script. */
export function headInstance({ compute_config: { head_node: node } }: ServiceSpec, args: InstanceArgs) {
  const { owner, cluster, settings } = args;
  const machineType = node?.instance_type ?? "";
  const { gpus } = resourcesOf(node ?? {});
  return {
    project: settings.project,
    zone: settings.zone,
    name: nameOfHead(owner, cluster),
    machineType,
    bootDisk: {
      autoDelete: true,
      initializeParams: { image: settings.bootImage, size: settings.diskGb, type: diskType(machineType) },
    },
    scheduling: { automaticRestart: true, onHostMaintenance: gpus > 0 ? "TERMINATE" : "MIGRATE" },
    labels: {
      ...labelsOf(owner),
      "ray-cluster-name": nameOfCluster(owner, cluster),
      "ray-node-type": "head",
      "ray-user-node-type": "head",
    },
    metadata: metadata(),
    scopes: SCOPES,
  };
}

/** Nobody logs in with a key of the project's. */
const metadata = () => ({ "block-project-ssh-keys": "TRUE", "enable-oslogin": "TRUE" });

const diskType = (machineType: string) => (HYPERDISK_ONLY.test(machineType) ? "hyperdisk-balanced" : "pd-balanced");
