import { createHash } from "node:crypto";
import type { UrlMap } from "../../../components/gcp/urlMap";
import type { Bag, CloudObject } from "./objects";
import type { CloudRules } from "./rules";
import { failedTests } from "./urlMap";

type Declared = Omit<CloudObject, "id" | "outputs">;

const API = "https://www.googleapis.com/compute/v1/";

/** A loopback address that goes by the name. */
function loopbackOf(name: string): string {
  const [a = 0, b = 0, c = 0] = createHash("sha256").update(name).digest();
  return `127.${128 + (a % 64)}.${b}.${1 + (c % 250)}`;
}

const text = (bag: Bag, key: string): string => String(bag[key] ?? "");
const listOf = (value: unknown): Bag[] => (Array.isArray(value) ? value : []) as Bag[];

/** Below which path of a project Compute Engine has the objects of a type. */
const collections: Record<string, string> = {
  "gcp:compute/network:Network": "global/networks",
  "gcp:compute/subnetwork:Subnetwork": "regions/REGION/subnetworks",
  "gcp:compute/router:Router": "regions/REGION/routers",
  "gcp:compute/firewall:Firewall": "global/firewalls",
  "gcp:compute/globalAddress:GlobalAddress": "global/addresses",
  "gcp:compute/healthCheck:HealthCheck": "global/healthChecks",
  "gcp:compute/instanceTemplate:InstanceTemplate": "global/instanceTemplates",
  "gcp:compute/instance:Instance": "zones/ZONE/instances",
  "gcp:compute/instanceGroup:InstanceGroup": "zones/ZONE/instanceGroups",
  "gcp:compute/backendService:BackendService": "global/backendServices",
  "gcp:compute/uRLMap:URLMap": "global/urlMaps",
  "gcp:compute/targetHttpProxy:TargetHttpProxy": "global/targetHttpProxies",
  "gcp:compute/targetHttpsProxy:TargetHttpsProxy": "global/targetHttpsProxies",
  "gcp:compute/globalForwardingRule:GlobalForwardingRule": "global/forwardingRules",
};

/** What Google makes up for the types that rayshift declares. Addresses are of this machine, where the fakes listen. */
function learned(object: Declared): { id: string; outputs: Bag } {
  const { type, name, inputs } = object;
  const project = `projects/${text(inputs, "project")}`;
  const collection = collections[type];
  if (collection !== undefined) {
    const place = collection.replace("REGION", text(inputs, "region")).replace("ZONE", text(inputs, "zone"));
    const id = `${project}/${place}/${text(inputs, "name")}`;
    return { id, outputs: { selfLink: `${API}${id}`, ...addressesOf(object) } };
  }
  switch (type) {
    case "gcp:serviceaccount/account:Account": {
      const email = `${text(inputs, "accountId")}@${text(inputs, "project")}.iam.gserviceaccount.com`;
      const id = `${project}/serviceAccounts/${email}`;
      return { id, outputs: { email, name: id } };
    }
    case "gcp:projects/iAMCustomRole:IAMCustomRole": {
      const id = `${project}/roles/${text(inputs, "roleId")}`;
      return { id, outputs: { name: id } };
    }
    case "gcp:secretmanager/secret:Secret": {
      const id = `${project}/secrets/${text(inputs, "secretId")}`;
      return { id, outputs: { name: id } };
    }
    case "gcp:secretmanager/secretVersion:SecretVersion":
      return { id: `${text(inputs, "secret")}/versions/1`, outputs: {} };
    case "gcp:storage/bucket:Bucket":
      return { id: text(inputs, "name"), outputs: {} };
    case "gcp:storage/bucketObject:BucketObject":
      return { id: `${text(inputs, "bucket")}-${text(inputs, "name")}`, outputs: {} };
    case "gcp:compute/routerNat:RouterNat":
    case "gcp:projects/iAMMember:IAMMember":
    case "gcp:serviceaccount/iAMMember:IAMMember":
    case "gcp:storage/bucketIAMMember:BucketIAMMember":
    case "gcp:secretmanager/secretIamMember:SecretIamMember":
      return { id: `of ${name}`, outputs: {} };
    default:
      throw new Error(`the fake of Google Cloud has no ${type}`);
  }
}

function addressesOf({ type, inputs }: Declared): Bag {
  const address = loopbackOf(text(inputs, "name"));
  if (type === "gcp:compute/globalAddress:GlobalAddress") return { address };
  if (type !== "gcp:compute/instance:Instance") return {};
  const networkInterfaces = listOf(inputs.networkInterfaces).map((nic) => ({ ...nic, networkIp: address }));
  return { instanceId: `id-${text(inputs, "name")}`, networkInterfaces };
}

/** Machines with GPUs of their own. */
const GPU_FAMILY = /^(g2|a2|a3|a4)-/;

/** Why Google's APIs would refuse the inputs; the same rules as those in their reference. */
export function gcpRefusal({ type, inputs }: Declared): string | undefined {
  const name = text(inputs, "name");
  if (type in collections && !/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return `the name ${name} is not valid`;
  switch (type) {
    case "gcp:serviceaccount/account:Account":
      return /^[a-z][-a-z0-9]{4,28}[a-z0-9]$/.test(text(inputs, "accountId"))
        ? undefined
        : "the account's id is not valid";
    case "gcp:projects/iAMCustomRole:IAMCustomRole":
      return /^[\w.]{3,64}$/.test(text(inputs, "roleId")) ? undefined : "the role's id is not valid";
    case "gcp:compute/instanceTemplate:InstanceTemplate":
    case "gcp:compute/instance:Instance": {
      const { onHostMaintenance } = inputs.scheduling as Bag;
      const hasGpus = GPU_FAMILY.test(text(inputs, "machineType")) || listOf(inputs.guestAccelerators).length > 0;
      if (hasGpus && onHostMaintenance !== "TERMINATE")
        return "instances with GPUs cannot be migrated: onHostMaintenance";
      const letters = text(inputs, "metadataStartupScript").length;
      return letters > 256 * 1024 ? `the startup script has ${letters} letters, more than 256 KB` : undefined;
    }
    case "gcp:compute/uRLMap:URLMap":
      return urlMapRefusal(inputs as unknown as UrlMap);
    default:
      return undefined;
  }
}

function urlMapRefusal(map: UrlMap): string | undefined {
  const rules = map.pathMatchers.flatMap(({ routeRules }) => routeRules);
  if (new Set(rules.map(({ priority }) => priority)).size !== rules.length) return "two rules have the same priority";
  for (const { priority, service, urlRedirect, routeAction } of rules) {
    const weighted = routeAction?.weightedBackendServices;
    const actions = [service, urlRedirect, weighted].filter((each) => each !== undefined);
    if (actions.length !== 1) return `rule ${priority} needs one of service, urlRedirect and weightedBackendServices`;
    const weights = weighted?.map(({ weight }) => weight);
    if (weights?.some((weight) => !Number.isInteger(weight) || weight < 0 || weight > 1000)) {
      return `rule ${priority} has a weight that is not from 0 to 1000`;
    }
    if (weights?.every((weight) => weight === 0)) return `rule ${priority} sends nobody anything`;
  }
  if (map.tests.length > 100) return "a URL map has at most 100 tests";
  const failed = failedTests(map);
  return failed.length === 0 ? undefined : `tests of the URL map fail: ${failed.join("; ")}`;
}

const immutable = [
  "name",
  "project",
  "machineType",
  "disks",
  "networkInterfaces",
  "metadataStartupScript",
  "scheduling",
  "labels",
  "tags",
];

/** Google Cloud as far as the tests need it. */
export const gcpRules: CloudRules = {
  version: "9.37.0",
  replacing: {
    ...Object.fromEntries(Object.keys(collections).map((type) => [type, ["name", "project"]])),
    "gcp:compute/instanceTemplate:InstanceTemplate": immutable,
    "gcp:compute/instance:Instance": [
      "name",
      "project",
      "zone",
      "bootDisk",
      "networkInterfaces",
      "metadataStartupScript",
    ],
    "gcp:compute/backendService:BackendService": ["name", "project", "loadBalancingScheme"],
    "gcp:compute/globalForwardingRule:GlobalForwardingRule": ["name", "project", "ipAddress", "portRange"],
    "gcp:secretmanager/secret:Secret": ["secretId", "project", "replication"],
    "gcp:secretmanager/secretVersion:SecretVersion": ["secret", "secretData"],
    "gcp:serviceaccount/account:Account": ["accountId", "project"],
    "gcp:projects/iAMMember:IAMMember": ["project", "role", "member", "condition"],
    "gcp:storage/bucketObject:BucketObject": ["bucket", "name"],
    "gcp:storage/bucket:Bucket": ["name", "project", "location"],
  },
  references: ["selfLink"],
  // Images and certificates are not this stack's.
  isReference: (reference) =>
    /^(https:\/\/www\.googleapis\.com\/compute\/v1\/)?projects\/[^/]+\/(?!.*(images|sslCertificates)\/)/.test(
      reference,
    ) && !/\s/.test(reference),
  inUse: "resourceInUseByAnotherResource",
  learned,
  refusal: gcpRefusal,
};

/** The same for Pulumi's mocks; undefined for what is not Google's. */
export function madeByGcp(type: string, name: string, inputs: Bag): { id: string; outputs: Bag } | undefined {
  return type.startsWith("gcp:") ? learned({ type, name, inputs }) : undefined;
}
