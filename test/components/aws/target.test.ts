import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { awsTarget } from "../../../components/aws";
import type { Placement } from "../../../components/placement";
import type { RolloutRecord } from "../../../components/record";
import { type Addresses, Service } from "../../../components/service";
import type { TargetSettings } from "../../../components/target";
import { awsRefusal, awsRules, madeByAws } from "../../fake/cloud/awsRules";
import { placing, recordAfter, rollingOut, running, version } from "../builders";
import { assertAccepted, doneBefore, named, type Registered, registering, resolved } from "../mockedEngine";
import { settings } from "./settingsForTests";

const times: TargetSettings = {
  service: "sample-service",
  startupTimeoutSeconds: 600,
  drainTimeoutSeconds: 60,
  idleTimeoutSeconds: 30,
  secret: false,
};

const machines = {
  image_uri: "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/ray:2.60.0",
  compute_config: {
    head_node: { instance_type: "m5.large" },
    worker_nodes: [{ name: "gpu", instance_type: "g5.xlarge", min_nodes: 0, max_nodes: 8, market_type: "SPOT" }],
  },
};
const v1 = version("v1", machines);
const v2 = version("v2", machines);
const rolled = (record: RolloutRecord): RolloutRecord => ({
  ...record,
  primary: { ...record.primary, ...v1 },
  ...(record.canary === undefined ? {} : { canary: { ...record.canary, ...v2 } }),
});

const addressOf = (cluster: string) => ({
  dashboardUrl: `http://${cluster}.internal:8265`,
  dashboardToken: `token of ${cluster}`,
  instances: { cloud: "aws" as const, region: "us-west-2", clusterName: cluster },
  serveAddress: `${cluster}.internal:8000`,
});
const recorded: Addresses = { clusters: { v1: addressOf("v1"), v2: addressOf("v2") }, loadBalancer: {} };

async function declared(
  placement: Placement,
  addresses: Addresses | undefined = recorded,
  changes: Record<string, unknown> = {},
) {
  const { resources, result } = await registering(
    {
      learned: madeByAws,
    },
    () =>
      new Service("sample-service", {
        target: awsTarget(times, settings(changes)),
        placement,
        recorded: addresses,
      }),
  );
  assertAccepted(resources);
  assertSound(resources);
  return { resources, result };
}

/** What holds in every state of a service: AWS's API takes it, nobody but the front is open to all, no token is plain. */
function assertSound(resources: readonly Registered[]): void {
  const all = objects(resources).map(({ type, name, inputs }) => ({ type, name, inputs, id: name, outputs: {} }));
  for (const object of all) assert.equal(awsRefusal(object, all), undefined, object.name);
  const toAll = all.filter(({ inputs }) =>
    [inputs.cidrIpv4, inputs.cidrIpv6].some((cidr) => /\/0$/.test(String(cidr))),
  );
  const front = named(resources, "front-to-nodes").inputs.securityGroupId;
  const open = toAll.filter(({ type, inputs }) => type.includes("Ingress") && inputs.securityGroupId !== front);
  assert.deepEqual(open, []);
  const tokens = all
    .filter(({ type }) => type.endsWith(":SecretVersion"))
    .flatMap(({ inputs }) => String(inputs.secretString).trim().split("\n"));
  assert.ok(tokens.length >= 2);
  for (const { name, inputs, secrets } of resources) {
    const plain = JSON.stringify(Object.entries(inputs).filter(([key]) => !secrets.includes(key)));
    const script = Buffer.from(String(inputs.userData ?? ""), "base64").toString();
    for (const token of tokens) assert.ok(!plain.includes(token) && !script.includes(token), name);
    for (const [, least] of script.matchAll(/"min_workers": (\d+)/g)) assert.equal(least, "0", name);
  }
}

const first = placing({}, v1, undefined);
const objects = (resources: readonly Registered[]) => resources.filter(({ type }) => type.startsWith("aws:"));
const RULE = "aws:lb/listenerRule:ListenerRule";

/** A machine's start script. */
function scriptOf(resources: readonly Registered[], name: string): string {
  return Buffer.from(String(named(resources, name).inputs.userData), "base64").toString();
}

interface Statement {
  Action: string | string[];
  Resource: string | string[];
  Condition?: Record<string, Record<string, unknown>>;
}

function statementsOf(resources: readonly Registered[], name: string): Statement[] {
  return (JSON.parse(String(named(resources, name).inputs.policy)) as { Statement: Statement[] }).Statement;
}

const forAction = (statements: Statement[], action: string) =>
  statements.filter(({ Action }) => [Action].flat().includes(action));

describe("the target aws", () => {
  it("makes of a first deploy a head, what workers are made from, rules, and names nothing after a role", async () => {
    const { resources } = await declared(first, undefined);
    const made = resources.filter(({ type }) => /^(aws|rayserve):/.test(type)).map(({ name }) => name);
    assert.deepEqual(made.sort(), [
      "alb",
      "applications-v1",
      "cluster-v1",
      "configs",
      "configs-private",
      "dashboard-0",
      "front",
      "front-0",
      "front-to-nodes",
      "head-profile-v1",
      "head-rights-v1",
      "head-role-v1",
      "head-template-v1",
      "head-v1",
      "listener",
      "load-balancer",
      "nodes",
      "nodes-among-themselves",
      "nodes-from-front",
      "nodes-out",
      "query-token",
      "ray-token-v1",
      "readiness",
      "reaper-v1",
      "record-v1",
      "rule-canary",
      "rule-marker",
      "rule-primary",
      "rule-traffic",
      "secret-v1",
      "secret-value-v1",
      "serve-config-v1",
      "targets-v1",
      "worker-profile-v1",
      "worker-rights-v1",
      "worker-role-v1",
      "workers-v1-gpu",
      "zone",
    ]);
  });

  it("lets Ray's ports be reached by the service's own machines, the dashboard from the given blocks, Serve from the front", async () => {
    const { resources } = await declared(first, undefined, { dashboardCidrs: ["10.1.0.0/16", "fd00::/8"] });
    const ingress = resources.filter(({ type }) => type.endsWith(":SecurityGroupIngressRule"));
    const nodes = named(resources, "nodes-among-themselves").inputs.securityGroupId;
    const open = ingress
      .filter(({ inputs }) => inputs.securityGroupId === nodes)
      .map(({ name, inputs }) => [name, inputs.fromPort, inputs.cidrIpv4 ?? inputs.cidrIpv6 ?? "group"]);
    assert.deepEqual(open.sort(), [
      ["dashboard-0", 8265, "10.1.0.0/16"],
      ["dashboard-1", 8265, "fd00::/8"],
      ["nodes-among-themselves", undefined, "group"],
      ["nodes-from-front", 8000, "group"],
    ]);
    const front = named(resources, "nodes-from-front").inputs.referencedSecurityGroupId;
    assert.notEqual(front, nodes);
    assert.equal(named(resources, "nodes-among-themselves").inputs.referencedSecurityGroupId, nodes);
  });

  it("keeps every token a secret, and out of every start script", async () => {
    const { resources, result } = await declared(placing({ canaryPercent: 25 }, v2, rolled(running)));
    const { value: query } = await resolved(result.queryAuthToken!);
    const { value: addresses, secret } = await resolved(result.addresses);
    assert.equal(secret, true);
    const tokens = [query, ...Object.values(addresses.clusters).map(({ dashboardToken = "" }) => dashboardToken)];
    assert.equal(new Set(tokens).size, 3);
    for (const { name, type, inputs, secrets } of resources) {
      const open = JSON.stringify(Object.entries(inputs).filter(([key]) => !secrets.includes(key)));
      const script = Buffer.from(String(inputs.userData ?? ""), "base64").toString();
      for (const token of tokens) assert.ok(!open.includes(token) && !script.includes(token), `${type} ${name}`);
    }
  });

  it("keeps the token of a cluster that leaves a secret, though the outputs had it plain", async () => {
    const { resources } = await declared(placing({ maxSurgePercent: 50 }, v1, rolled(rollingOut([50, 50, 50], 50))));
    const { inputs, secrets } = named(resources, "applications-v1");
    assert.equal((inputs.surge as { peer: { dashboardToken: string } }).peer.dashboardToken, "token of v2");
    assert.ok(secrets.includes("surge"));
  });

  it("makes machines that take the metadata service's second version only, are gone when they shut down, and have encrypted disks", async () => {
    const { resources } = await declared(first, undefined, { diskGiB: 100, headAmi: "ami-1a1b2c3d4e5f60718" });
    for (const name of ["head-template-v1", "workers-v1-gpu"]) {
      const { inputs } = named(resources, name);
      assert.deepEqual(inputs.metadataOptions, {
        httpEndpoint: "enabled",
        httpTokens: "required",
        httpPutResponseHopLimit: 1,
      });
      assert.equal(inputs.instanceInitiatedShutdownBehavior, "terminate");
      const [disk] = inputs.blockDeviceMappings as Array<{ ebs: { encrypted: string; volumeSize: number } }>;
      assert.deepEqual([disk?.ebs.encrypted, disk?.ebs.volumeSize], ["true", 100]);
    }
    const worker = named(resources, "workers-v1-gpu").inputs;
    assert.deepEqual(
      [worker.imageId, worker.instanceType, worker.instanceMarketOptions],
      ["ami-0a1b2c3d4e5f60718", "g5.xlarge", { marketType: "spot" }],
    );
    const head = named(resources, "head-template-v1").inputs;
    assert.deepEqual(
      [head.imageId, head.instanceType, head.instanceMarketOptions],
      ["ami-1a1b2c3d4e5f60718", "m5.large", undefined],
    );
  });

  it("keeps one head, which the load balancer's checks do not end before it serves, under the tags that Ray looks for", async () => {
    const { resources } = await declared(first, undefined);
    const { inputs } = named(resources, "head-v1");
    assert.deepEqual([inputs.minSize, inputs.maxSize, inputs.healthCheckType], [1, 1, "EC2"]);
    const tags = Object.fromEntries(
      (inputs.tags as Array<{ key: string; value: string }>).map(({ key, value }) => [key, value]),
    );
    const script = scriptOf(resources, "head-template-v1");
    const [, config = ""] = /autoscaling\.json <<'RAYSHIFT_FILE'\n(.*?)\nRAYSHIFT_FILE/s.exec(script) ?? [];
    const autoscaling = JSON.parse(config);
    assert.equal(tags["ray-cluster-name"], autoscaling.cluster_name);
    assert.deepEqual([tags["ray-node-type"], tags["ray-user-node-type"]], ["head", "head"]);
    assert.deepEqual(autoscaling.available_node_types.gpu.node_config.SubnetIds, settings().subnetIds);
    assert.equal(autoscaling.available_node_types.gpu.node_config.LaunchTemplate.Version, "1");
    const reaper = named(resources, "reaper-v1").inputs;
    assert.equal(reaper.clusterName, autoscaling.cluster_name);
  });

  it("has a head that takes another's place find its name and the config with the capacity that was sent last", async () => {
    const { resources } = await declared(placing({ canaryPercent: 25, maxSurgePercent: 50 }, v2, rolled(running)));
    const saved = named(resources, "serve-config-v2");
    const content = JSON.parse(String(saved.inputs.content));
    assert.deepEqual([content.target_capacity, content.proxy_location], [25, "HeadOnly"]);
    const script = scriptOf(resources, "head-template-v2");
    assert.ok(script.includes(`s3://${saved.inputs.bucket}/${saved.inputs.key}`));
    assert.ok(script.includes(String(named(resources, "record-v2").inputs.name)));
    assert.ok(named(resources, "serve-config-v2").dependencies.includes("applications-v2"));
  });

  describe("rights", () => {
    it("of a head: to launch from its own cluster's templates under its tag, and to end only what has it", async () => {
      const { resources } = await declared(placing({ canaryPercent: 25 }, v2, rolled(running)));
      const statements = statementsOf(resources, "head-rights-v2");
      const own = String(named(resources, "reaper-v2").inputs.clusterName);
      const arn = awsRules.learned(
        { type: "aws:ec2/launchTemplate:LaunchTemplate", name: "", inputs: named(resources, "workers-v2-gpu").inputs },
        undefined,
      ).outputs.arn;
      for (const { Resource, Condition } of forAction(statements, "ec2:RunInstances")) {
        const byTemplate = (Condition?.ArnEquals?.["ec2:LaunchTemplate"] as string[] | undefined) ?? Resource;
        assert.deepEqual(byTemplate, [arn]);
      }
      const launch = forAction(statements, "ec2:RunInstances").find(({ Resource }) =>
        String(Resource).endsWith("instance/*"),
      );
      assert.deepEqual(launch?.Condition?.StringEquals, { "aws:RequestTag/ray-cluster-name": own });
      const [end, ...others] = forAction(statements, "ec2:TerminateInstances");
      assert.deepEqual([end?.Condition, others], [{ StringEquals: { "aws:ResourceTag/ray-cluster-name": own } }, []]);
    });

    it("name what they are for, but for seeing machines and logging in to the registry", async () => {
      const { resources } = await declared(first, undefined, { readBuckets: ["models"] });
      for (const name of ["head-rights-v1", "worker-rights-v1"]) {
        for (const { Action, Resource } of statementsOf(resources, name)) {
          const actions = [Action].flat();
          for (const action of actions) assert.doesNotMatch(action, /\*/);
          if ([Resource].flat().includes("*")) {
            assert.ok(["ec2:DescribeInstances", "ecr:GetAuthorizationToken"].includes(actions.join()), actions.join());
          }
        }
      }
      const worker = statementsOf(resources, "worker-rights-v1").flatMap(({ Action }) => Action);
      assert.deepEqual(
        worker.filter((action) => /^(ec2|iam|route53):/.test(action)),
        [],
      );
      const head = statementsOf(resources, "head-rights-v1");
      assert.deepEqual(
        forAction(head, "iam:PassRole").map(({ Resource }) => Resource),
        [`arn:aws:iam::123456789012:role/${named(resources, "worker-role-v1").inputs.name}`],
      );
    });
  });

  describe("order inside an update", () => {
    it("forward: the canary's applications, its rule, the proof, weights, marker, their proof, the primary's applications", async () => {
      const { resources } = await declared(placing({ canaryPercent: 50 }, v2, rolled(rollingOut([100, 100, 10]))));
      const chain = ["applications-v2", "rule-canary", "readiness", "rule-traffic", "rule-marker"];
      chain.slice(1).forEach((name, index) => {
        assert.ok(doneBefore(resources, name).has(chain[index]!), `${chain[index]} before ${name}`);
      });
      assert.ok(named(resources, "load-balancer", "rayserve:cloud:Routed").dependencies.includes("rule-marker"));
      assert.ok(named(resources, "applications-v1").dependencies.includes("load-balancer"));
      assert.ok(!doneBefore(resources, "readiness").has("applications-v1"));
    });

    it("back: the primary's applications first, the canary's last", async () => {
      const { resources } = await declared(placing({ canaryPercent: 10 }, v2, rolled(rollingOut([50, 50, 50], 50))));
      assert.ok(doneBefore(resources, "rule-traffic").has("applications-v1"));
      assert.ok(named(resources, "applications-v2").dependencies.includes("load-balancer"));
      assert.ok(!doneBefore(resources, "applications-v1").has("rule-traffic"));
    });

    it("at once: the weights wait for no applications, and their proof is told so", async () => {
      const placement: Placement = { ...placing({}, v1, rolled(rollingOut([25, 75, 75]))), order: "concurrent" };
      const { resources } = await declared(placement);
      assert.equal(named(resources, "readiness").inputs.immediate, true);
      assert.ok(![...doneBefore(resources, "rule-traffic")].some((name) => name.startsWith("applications")));
    });

    it("at the end: requests, the head, all workers, what they were made of", async () => {
      const { resources } = await declared(first, undefined);
      assert.ok(named(resources, "cluster-v1", "rayserve:cloud:Cluster").dependencies.includes("head-v1"));
      assert.ok(named(resources, "head-v1").dependencies.includes("reaper-v1"));
      const kept = named(resources, "reaper-v1").dependencies;
      for (const name of [
        "workers-v1-gpu",
        "worker-profile-v1",
        "worker-rights-v1",
        "nodes-among-themselves",
        "record-v1",
      ]) {
        assert.ok(kept.includes(name), name);
      }
      assert.equal(named(resources, "applications-v1").deletedWith, "cluster-v1");
    });
  });

  it("guards growth by the other cluster, and shrinking by the marker", async () => {
    const { resources } = await declared(placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, rolled(running)));
    const { surge } = named(resources, "applications-v2").inputs as {
      surge: { peer: object; maxTotalCapacity: number };
    };
    assert.equal(surge.maxTotalCapacity, 125);
    const { traffic } = named(resources, "applications-v1").inputs as {
      traffic: { version: string; marker: { url: string } };
    };
    assert.equal(traffic.version, "v1");
    assert.match(traffic.marker.url, /^http:\/\/127\.\S+\/-\/rayshift\/weights$/);
  });

  it("speaks HTTPS by the certificate's name where there is one", async () => {
    const loadBalancer = {
      certificateArn: "arn:aws:acm:us-west-2:123456789012:certificate/0a1b",
      hostname: "models.example.com",
    };
    const { resources, result } = await declared(first, undefined, { loadBalancer });
    const { inputs } = named(resources, "listener");
    assert.deepEqual(
      [inputs.protocol, inputs.port, inputs.certificateArn],
      ["HTTPS", 443, loadBalancer.certificateArn],
    );
    assert.equal((await resolved(result.url)).value, "https://models.example.com");
    const { marker } = named(resources, "readiness").inputs as { marker: { url: string; hostname: string } };
    assert.equal(marker.hostname, "models.example.com");
    assert.match(marker.url, /^https:\/\/127\./);
  });

  /** What the engine would do about an object when one update follows another. */
  const changesBetween = (before: readonly Registered[], after: readonly Registered[]) => {
    // Each mocked stack has tokens of its own.
    const tokenless = (inputs: Record<string, unknown>) =>
      JSON.parse(JSON.stringify(inputs, (key, value) => (key === "conditions" || key === "secretString" ? "" : value)));
    const was = new Map(objects(before).map((each) => [each.name, tokenless(each.inputs)]));
    const is = new Map(objects(after).map((each) => [each.name, tokenless(each.inputs)]));
    return {
      made: [...is.keys()].filter((name) => !was.has(name)).sort(),
      ended: [...was.keys()].filter((name) => !is.has(name)).sort(),
      changed: [...is]
        .filter(([name, own]) => was.has(name) && !isDeepStrictEqual(was.get(name), own))
        .map(([name]) => name)
        .sort(),
    };
  };

  describe("over a whole rollout under a surge", () => {
    const parts = (cluster: string) =>
      objects(firstResources)
        .map(({ name }) => name)
        .filter((name) => /-v1(-|$)/.test(name))
        .map((name) => name.replace("v1", cluster))
        .sort();
    const waypoint = (
      primaryCapacity: number,
      canaryCapacity: number,
      canaryTraffic: number,
      direction: "forward" | "back" = "forward",
    ) => ({
      waypoint: {
        ...{ primary: "v1", canary: "v2", primaryCapacity, canaryCapacity, canaryTraffic, surge: 40, direction },
        startedAt: "2026-01-31T12:00:00.000Z",
      },
    });
    let firstResources: Registered[];
    before(async () => {
      firstResources = (await declared(first, undefined)).resources;
    });

    it("makes the canary's objects once, changes rules and kept configs at each waypoint, and ends the primary's at last", async () => {
      let record: RolloutRecord = recordAfter(first);
      let resources = firstResources;
      const seen: object[] = [];
      for (const at of [waypoint(60, 40, 40), waypoint(20, 80, 80), waypoint(0, 100, 100), {}]) {
        const placement = placing(at, v2, record);
        const { resources: next } = await declared(placement);
        seen.push(changesBetween(resources, next));
        record = recordAfter(placement);
        resources = next;
      }
      const weights = ["rule-marker", "rule-traffic"];
      const configs = ["serve-config-v1", "serve-config-v2"];
      assert.deepEqual(seen, [
        { made: parts("v2"), ended: [], changed: ["rule-canary", ...weights, "serve-config-v1"] },
        { made: [], ended: [], changed: [...weights, ...configs] },
        { made: [], ended: [], changed: [...weights, ...configs] },
        {
          made: [],
          ended: parts("v1"),
          changed: ["rule-canary", "rule-marker", "rule-primary", "rule-traffic", "serve-config-v2"],
        },
      ]);
    });

    it("leaves after a rollback what was there before the rollout", async () => {
      const forward = recordAfter(placing(waypoint(60, 40, 40), v2, recordAfter(first)));
      const back = recordAfter(placing(waypoint(100, 40, 0, "back"), v1, forward));
      const after = await declared(placing({}, v1, back));
      assert.deepEqual(changesBetween(firstResources, after.resources), { made: [], ended: [], changed: [] });
    });

    it("names both target groups in the weights while both live, and only the one that stays when the other is deleted", async () => {
      const groupsOf = (resources: readonly Registered[]) => {
        const { actions } = named(resources, "rule-traffic", RULE).inputs as {
          actions: Array<{ forward: { targetGroups: Array<{ weight: number }> } }>;
        };
        return actions[0]?.forward.targetGroups.map(({ weight }) => weight);
      };
      const at = placing(waypoint(0, 100, 100), v2, rolled(rollingOut([20, 80, 80], 40)));
      assert.deepEqual(groupsOf((await declared(at)).resources), [0, 100]);
      assert.deepEqual(groupsOf((await declared(placing({}, v2, recordAfter(at)))).resources), [100]);
    });
  });
});
