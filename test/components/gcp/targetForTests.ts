import assert from "node:assert/strict";
import { gcpTarget } from "../../../components/gcp";
import type { Placement } from "../../../components/placement";
import type { RolloutRecord } from "../../../components/record";
import { type Addresses, Service } from "../../../components/service";
import type { TargetSettings } from "../../../components/target";
import { gcpRefusal, madeByGcp } from "../../fake/cloud/gcpRules";
import { placing, version } from "../builders";
import { assertAccepted, type Registered, registering, resolved } from "../mockedEngine";
import { settings } from "./settingsForTests";

/** A service on Google Cloud as the program declares it, against Pulumi's mocks. */

const times: TargetSettings = {
  service: "sample-service",
  startupTimeoutSeconds: 600,
  drainTimeoutSeconds: 60,
  idleTimeoutSeconds: 30,
  secret: false,
};

const compute = {
  image_uri: "us-docker.pkg.dev/my-project/ray/ray:2.60.0-gpu",
  compute_config: {
    head_node: { instance_type: "n2-standard-8" },
    worker_nodes: [
      { name: "gpu", instance_type: "g2-standard-4", max_nodes: 4 },
      { name: "T4.Spot", instance_type: "n1-standard-8", resources: { GPU: 2 }, max_nodes: 2, market_type: "SPOT" },
      { name: "cpu", instance_type: "n4-standard-8", max_nodes: 2 },
    ],
  },
};
export const v1 = version("v1", compute);
export const v2 = version("v2", compute);
export const first = placing({}, v1, undefined);
const own = { workerGroups: { "T4.Spot": { accelerator: "nvidia-tesla-t4", diskGb: 50 } } };
/** As v1 and v2, but with what runs on Google Cloud. */
export const on = (record: RolloutRecord): RolloutRecord => ({
  ...record,
  primary: { ...record.primary, ...v1 },
  ...(record.canary === undefined ? {} : { canary: { ...record.canary, ...v2 } }),
});

const addressOf = (cluster: string) => ({
  dashboardUrl: "http://10.128.0.2:8265",
  dashboardToken: `token of ${cluster}`,
  serveAddress: "10.128.0.2:8000",
});
const recorded: Addresses = { clusters: { v1: addressOf("v1"), v2: addressOf("v2") }, loadBalancer: {} };

export async function declared(
  placement: Placement,
  changes: { addresses?: Addresses; settings?: object; times?: Partial<TargetSettings> } = {},
) {
  const { resources, result } = await registering(
    { learned: madeByGcp },
    () =>
      new Service("sample-service", {
        target: gcpTarget({ ...times, ...changes.times }, settings({ ...own, ...changes.settings })),
        placement,
        recorded: changes.addresses ?? recorded,
      }),
  );
  assertAccepted(resources);
  assertGoogleTakesNames(resources);
  assertSound(resources, (await resolved(result.queryAuthToken!)).value);
  return { resources, result };
}

/** The first deploy, which many tests look at. */
let deployed: ReturnType<typeof declared> | undefined;
export const firstDeploy = () => (deployed ??= declared(first));

/** What holds in every state of a service: Google's API takes it, no port is open to all, no token is plain. */
function assertSound(resources: readonly Registered[], queryAuthToken: string): void {
  const tokens = [queryAuthToken, ...ofType(resources, "SecretVersion").map(({ inputs }) => String(inputs.secretData))];
  assert.ok(tokens.length >= 2);
  for (const { type, name, inputs, secrets } of resources) {
    if (isGcp({ type })) assert.equal(gcpRefusal({ type, name, inputs }), undefined, name);
    assert.ok(![inputs.sourceRanges].flat().some((range) => /\/0$/.test(String(range))), name);
    const plain = JSON.stringify(Object.entries(inputs).filter(([key]) => !secrets.includes(key)));
    for (const token of tokens) assert.ok(!plain.includes(token), name);
    const script = String(inputs.metadataStartupScript ?? "");
    for (const [, least] of script.matchAll(/"min_workers": (\d+)/g)) assert.equal(least, "0", name);
  }
}

/** Names and labels as Compute Engine and IAM take them. */
function assertGoogleTakesNames(resources: readonly Registered[]): void {
  for (const { type, name, inputs } of resources.filter(isGcp)) {
    const known = inputs as { name?: string; labels?: Record<string, string>; accountId?: string; roleId?: string };
    const plain = type.includes("storage/bucketObject") ? undefined : known.name;
    if (plain !== undefined) assert.match(plain, /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/, name);
    for (const value of Object.values(known.labels ?? {})) assert.match(value, /^[-_a-z0-9]{1,63}$/, name);
    if (known.accountId !== undefined) assert.match(known.accountId, /^[a-z][-a-z0-9]{4,28}[a-z0-9]$/, name);
    if (known.roleId !== undefined) assert.match(known.roleId, /^[a-zA-Z0-9_.]{3,64}$/, name);
  }
}

export const isGcp = ({ type }: Pick<Registered, "type">) => type.startsWith("gcp:");
export const ofType = (resources: readonly Registered[], type: string) =>
  resources.filter((each) => each.type.endsWith(`:${type}`));
