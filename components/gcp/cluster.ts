import { BackendService } from "@pulumi/gcp/compute/backendService";
import { Instance } from "@pulumi/gcp/compute/instance";
import { InstanceGroup } from "@pulumi/gcp/compute/instanceGroup";
import { InstanceTemplate } from "@pulumi/gcp/compute/instanceTemplate";
import { Secret } from "@pulumi/gcp/secretmanager/secret";
import { SecretIamMember } from "@pulumi/gcp/secretmanager/secretIamMember";
import { SecretVersion } from "@pulumi/gcp/secretmanager/secretVersion";
import * as pulumi from "@pulumi/pulumi";
import type { CloudDashboard, GcpInstances } from "../../provider/serve/dashboard";
import type { MarkerAddress } from "../../provider/serve/guards";
import { headScript, ports, workerScript } from "../cloud/boot";
import { namePart } from "../cloud/names";
import { Cluster } from "../cloud/resources";
import { resourcesOf } from "../instanceTypes";
import type { PlacedVersion } from "../record";
import { Token } from "../resources";
import type { ClusterComponent, TargetSettings } from "../target";
import { bucketName, member } from "./access";
import type { Foundation } from "./foundation";
import { headInstance, workerTemplate } from "./instances";
import { labelsOf, nameOfCluster, nameOfHead, nameOfTemplate, type Owner } from "./names";
import { Reaper } from "./resources";
import type { GcpSettings } from "./settings";
import { headShell, workerShell } from "./shell";
import { REQUEST_SECONDS } from "./urlMap";

export interface GcpClusterArgs {
  foundation: Foundation;
  times: TargetSettings;
  version: PlacedVersion;
  queryAuthToken: pulumi.Output<string>;
}

/** Of a cluster on Google Cloud's machines. */
export type GcpClusterAddress = CloudDashboard & { instances: GcpInstances; serveAddress: string };

/** Name of the port of an instance group that Serve answers at. */
const SERVE = "serve";
/** Longest wait for machines to be gone, seconds. */
const REAP_SECONDS = 900;

/** Name of the object that a version's Serve config is kept in. */
export const configObject = (cluster: string) => `${cluster}/serve-config.json`;

/**
 * One version's Ray cluster: a head, templates of the machines that Ray's own autoscaler starts, and a backend service of
 * the load balancer before it.
 */
export class GcpCluster extends pulumi.ComponentResource implements ClusterComponent {
  readonly address: pulumi.Output<GcpClusterAddress>;
  /** Where the load balancer tells its weights. */
  readonly marker: pulumi.Output<MarkerAddress>;
  readonly backendService: pulumi.Output<string>;

  constructor(name: string, args: GcpClusterArgs, options: pulumi.ComponentResourceOptions = {}) {
    super("rayshift:gcp:Cluster", name, {}, options);
    const { foundation, times, version, queryAuthToken } = args;
    const { owner, settings, place, access } = foundation;
    const { project, zone } = settings;
    const { cluster, spec } = version;
    const clusterName = nameOfCluster(owner, cluster);
    const scripts = bootScripts(owner, settings, version, times.idleTimeoutSeconds);
    const token = new Token(`ray-token-${cluster}`, {}, { parent: this });
    const readable = this.secret(foundation, cluster, clusterName, token);
    // A version is immutable, and so are its machines: settings of the stack are for the clusters to come.
    const fixed = (inputs: object) => ({ parent: this, ignoreChanges: Object.keys(inputs) });
    const nic = { network: place.network, subnetwork: place.subnetwork };

    const templates = spec.compute_config.worker_nodes.map((group) => {
      const { scopes, ...template } = workerTemplate(group, { owner, cluster, settings });
      const inputs = {
        ...template,
        networkInterfaces: [nic],
        tags: [place.tag],
        serviceAccount: { email: access.worker.email, scopes },
        metadataStartupScript: scripts.worker(group.name),
      };
      return new InstanceTemplate(`template-${cluster}-${namePart(group.name)}`, inputs, fixed(inputs));
    });
    // The head goes first, and with it whoever starts workers; then the workers; then what they are made of.
    const reaper = new Reaper(
      `reaper-${cluster}`,
      { project, zone, clusterName, timeoutSeconds: REAP_SECONDS },
      { parent: this, dependsOn: [...templates, ...place.ready, ...access.ready, ...readable] },
    );
    const { scopes, ...instance } = headInstance(spec, { owner, cluster, settings });
    const inputs = {
      ...instance,
      networkInterfaces: [nic],
      tags: [place.tag],
      serviceAccount: { email: access.head.email, scopes },
      metadataStartupScript: scripts.head,
    };
    const head = new Instance(`head-${cluster}`, inputs, { ...fixed(inputs), dependsOn: [reaper] });
    const group = new InstanceGroup(
      `head-group-${cluster}`,
      {
        project,
        zone,
        name: clusterName,
        network: place.network,
        instances: [head.selfLink],
        namedPorts: [{ name: SERVE, port: ports.serve }],
      },
      { parent: this },
    );
    const backend = new BackendService(
      `backend-${cluster}`,
      {
        project,
        name: clusterName,
        loadBalancingScheme: "EXTERNAL_MANAGED",
        protocol: "HTTP",
        portName: SERVE,
        healthChecks: foundation.healthCheck.id,
        backends: [{ group: group.selfLink, balancingMode: "UTILIZATION", capacityScaler: 1 }],
        timeoutSec: REQUEST_SECONDS,
        connectionDrainingTimeoutSec: Math.min(Math.ceil(times.drainTimeoutSeconds), REQUEST_SECONDS),
        sessionAffinity: "NONE",
      },
      { parent: this },
    );
    const instances: GcpInstances = { cloud: "gcp", project, zone, clusterName };
    this.marker = foundation.marker("service", queryAuthToken);
    const dashboardUrl = head.networkInterfaces.apply(([first]) => `http://${first?.networkIp}:${ports.dashboard}`);
    const gate = new Cluster(
      name,
      {
        dashboardUrl,
        dashboardToken: token.value,
        instances,
        headId: head.instanceId,
        marker: this.marker,
        version: cluster,
        timeoutSeconds: times.startupTimeoutSeconds,
        drainTimeoutSeconds: times.drainTimeoutSeconds,
        seeHead: `gcloud compute instances get-serial-port-output ${nameOfHead(owner, cluster)} --project ${project} --zone ${zone}`,
      },
      // Requests end before the backend service does.
      { parent: this, dependsOn: [backend] },
    );
    this.backendService = backend.id;
    // Whoever asks for it waits until Ray answers there.
    this.address = pulumi.all([dashboardUrl, token.value, gate.urn]).apply(([url, dashboardToken]) => ({
      dashboardUrl: url,
      dashboardToken,
      instances,
      serveAddress: `${new URL(url).hostname}:${ports.serve}`,
    }));
    this.registerOutputs({ address: this.address });
  }

  /** Ray's token in Secret Manager, for the two accounts. */
  private secret(
    { owner, settings: { project }, access }: Foundation,
    cluster: string,
    secretId: string,
    token: Token,
  ): pulumi.Resource[] {
    const own = { parent: this };
    const secret = new Secret(
      `ray-token-secret-${cluster}`,
      { project, secretId, replication: { auto: {} }, labels: labelsOf(owner) },
      own,
    );
    const version = new SecretVersion(
      `ray-token-version-${cluster}`,
      { secret: secret.id, secretData: token.value },
      own,
    );
    const grants = Object.entries({ head: access.head, worker: access.worker }).map(
      ([role, account]) =>
        new SecretIamMember(
          `ray-token-${role}-grant-${cluster}`,
          { project, secretId: secret.secretId, role: "roles/secretmanager.secretAccessor", member: member(account) },
          own,
        ),
    );
    return [version, ...grants];
  }
}

/** The startup scripts of a cluster's machines. */
export function bootScripts(owner: Owner, settings: GcpSettings, version: PlacedVersion, idleTimeoutSeconds: number) {
  const { project, zone } = settings;
  const { cluster, spec } = version;
  const { head_node: node, worker_nodes: groups } = spec.compute_config;
  const clusterName = nameOfCluster(owner, cluster);
  const place = { project, secret: clusterName };
  const image = spec.image_uri;
  const workers = groups.map((group) => ({
    name: namePart(group.name),
    resources: resourcesOf(group),
    maxNodes: group.max_nodes,
    nodeConfig: {
      // Ray asks for the type also beside a template, and gives labels in place of the template's.
      machineType: group.instance_type,
      sourceInstanceTemplate: `projects/${project}/global/instanceTemplates/${nameOfTemplate(owner, cluster, group.name)}`,
      labels: labelsOf(owner),
    },
  }));
  const has = resourcesOf(node ?? {});
  // Beside worker groups the head runs no replicas: what runs there could not leave with its node.
  const alone = groups.length === 0;
  const head = headScript({
    clusterName,
    image,
    shell: headShell({ ...place, bucket: bucketName(owner, settings), object: configObject(cluster) }),
    autoscaling: {
      clusterName,
      provider: { type: "gcp", project_id: project, availability_zone: zone, region: zone.replace(/-[a-z]$/, "") },
      sshUser: "ubuntu",
      groups: workers,
      idleTimeoutSeconds,
    },
    cpus: alone ? has.cpus : (node?.resources?.CPU ?? 0),
    gpus: alone ? has.gpus : 0,
    // The URL map compares exactly, and takes the token off.
    proxyChecks: { token: false, exactRoles: false },
  });
  const headHost = `${nameOfHead(owner, cluster)}.${zone}.c.${project}.internal`;
  return {
    head,
    worker: (name: string) => {
      const group = workers.find((each) => each.name === namePart(name));
      if (group === undefined) throw new Error(`there is no worker group ${name}`);
      return workerScript({ clusterName, image, shell: workerShell(place), headHost, group });
    },
  };
}
