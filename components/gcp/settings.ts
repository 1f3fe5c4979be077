import { z } from "zod";
import { namePart } from "../cloud/names";
import { cloudProblems } from "../cloud/problems";
import { instanceTypes } from "../instanceTypes";
import { checked, type Problem, type Report, worded } from "../problems";
import type { ServiceSpec } from "../serviceSpec";

const gigabytes = worded(z.int().min(10).max(65536), "must be whole GB from 10 to 65536", "give for example 200");

const resource = (kind: string, example: string) =>
  worded(
    z.string().regex(/^(https:\/\/www\.googleapis\.com\/compute\/v1\/)?projects\/[^/]+\/[a-z]+(\/[^/]+)+$/i),
    `must be the path of ${kind}`,
    `give for example ${example}`,
  );

/** Of one worker group; the spec has the rest. */
const group = z.strictObject({
  /** Of machines whose type has no GPUs of its own (N1). The number is the group's GPUs. */
  accelerator: worded(
    z.string().regex(/^[a-z][-a-z0-9]+$/),
    "must be Google Cloud's name of an accelerator",
    "give for example nvidia-tesla-t4",
  ).optional(),
  diskGb: gigabytes.optional(),
});

const cidr = worded(z.cidrv4(), "must be a block of IPv4 addresses", "give for example 10.128.0.0/20");

/** Of Ray's dashboard: whoever has its token can run anything on the cluster. */
const privateCidr = worded(
  z.cidrv4().refine((block) => !block.endsWith("/0")),
  "must be a block of IPv4 addresses, and not everybody's",
  "give those that `rayshift` runs from, for example 10.0.0.0/16",
);

const port = worded(z.int().min(1).max(65535), "must be a port from 1 to 65535", "give for example 8443");

const loadBalancer = checked(
  z.strictObject({
    /** Certificates of the global load balancer, for HTTPS. */
    certificates: z
      .array(resource("a certificate", "projects/my-project/global/sslCertificates/models"))
      .min(1)
      .max(15)
      .optional(),
    /** Of the requests, and of the certificate. */
    hostname: worded(
      z
        .string()
        .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/)
        .max(253),
      "must be a host name in lower-case letters",
      "give for example models.example.com",
    ).optional(),
    /** Requests and their tokens go unencrypted. */
    http: z.boolean().default(false),
    /** Of the requests; 443, or 80 without certificates. */
    port: port.optional(),
    /** At which versions are asked before they get requests; 8443, or 8080 without certificates. */
    versionsPort: port.optional(),
  }),
  reportEncryption,
);

function reportEncryption({ certificates, hostname, http }: Record<string, unknown>, report: Report): void {
  if (http === true && certificates !== undefined) {
    report(["http"], "cannot be given beside `certificates`", "leave out one of the two");
  }
  if (http !== true && certificates === undefined) {
    const remedy = "give them with their `hostname`, or choose `http: true`: tokens then go unencrypted";
    report(["certificates"], "are missing", remedy);
  }
  if (certificates !== undefined && hostname === undefined) {
    report(["hostname"], "is missing: the certificates are for one", "give the host name of the certificates");
  }
}

/** `rayshift:gcp`: where the service runs, and what its instances need there. */
export const gcpSettings = checked(
  z.strictObject({
    project: worded(
      z.string().regex(/^[a-z][-a-z0-9]{4,28}[a-z0-9]$/),
      "must be the id of a project",
      "`gcloud projects list` shows those there are",
    ),
    /** Of all instances: Ray's autoscaler knows one. */
    zone: worded(
      z.string().regex(/^[a-z]+-[a-z]+\d+-[a-z]$/),
      "must be a zone",
      "give for example us-central1-a; `gcloud compute accelerator-types list` shows where there are which GPUs",
    ),
    /** Absent: one is made. */
    network: resource("a network", "projects/my-project/global/networks/models").optional(),
    subnetwork: resource("a subnetwork", "projects/my-project/regions/us-central1/subnetworks/models").optional(),
    /** Of the network that is made. */
    cidr: cidr.default("10.128.0.0/20"),
    /** Who may reach Ray's dashboard, for which `rayshift` needs Ray's token too. */
    dashboardCidrs: worded(
      z.array(privateCidr).min(1),
      "must be a list of at least one block of addresses",
      'give for example ["10.0.0.0/16"]',
    ),
    loadBalancer,
    /** Of all machines: Linux with curl, and Docker or Ray; for GPUs with NVIDIA's driver and container toolkit. */
    bootImage: resource("an image or a family of images", "projects/my-project/global/images/family/ray"),
    diskGb: gigabytes.default(200),
    /** By the worker groups' names. */
    workerGroups: z.record(z.string(), group).default({}),
  }),
  ({ network, subnetwork }, report) => {
    if ((network === undefined) === (subnetwork === undefined)) return;
    const missing = network === undefined ? "network" : "subnetwork";
    report([missing], "is missing: a network and its subnetwork go together", "give both, or none to have them made");
  },
);

export type GcpSettings = z.output<typeof gcpSettings>;

/** The region that the zone is in. */
export function regionOf({ zone }: Pick<GcpSettings, "zone">): string {
  return zone.replace(/-[a-z]$/, "");
}

/** What of a service cannot be on Google Cloud; paths are below the service. */
export function gcpProblems(spec: ServiceSpec, settings: GcpSettings): Problem[] {
  const problems = cloudProblems(spec, {
    target: "gcp",
    isOwn: (type) => instanceTypes.has(type) && !type.includes("."),
    exampleHead: "n2-standard-4",
    exampleWorker: "g2-standard-4",
    exampleUri: "gs://bucket/code.zip",
  });
  const groups = spec.compute_config.worker_nodes;
  const parts = groups.map(({ name }) => namePart(name));
  groups.forEach(({ name, instance_type: type, resources }, index) => {
    const path = `compute_config.worker_nodes[${index}]`;
    const same = parts.indexOf(namePart(name));
    if (same !== index) {
      const rule = `is the same label as that of worker_nodes[${same}], "${parts[same]}"`;
      problems.push({ path: `${path}.name`, value: name, rule, remedy: "let them differ in letters or digits" });
    }
    const gpus = resources?.GPU ?? 0;
    const { accelerator } = settings.workerGroups[name] ?? {};
    if (type?.startsWith("n1-") && gpus > 0 && accelerator === undefined) {
      problems.push({
        path: `${path}.resources`,
        rule: `has ${gpus} GPUs on ${type}, which comes with none`,
        remedy: `name them: \`workerGroups: {${name}: {accelerator: nvidia-tesla-t4}}\` in \`rayshift:gcp\``,
      });
    }
    if (accelerator !== undefined && gpus === 0) {
      problems.push({
        path: `${path}.resources`,
        rule: `says nothing of the GPUs that \`workerGroups.${name}.accelerator\` adds`,
        remedy: "give their number, for example {GPU: 1}",
      });
    }
  });
  return problems;
}
