import assert from "node:assert/strict";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { countWorkerInstances } from "../../../provider/aws/instances";
import { moveAllTraffic } from "../../../provider/aws/listenerRules";
import { reaper } from "../../../provider/aws/reaper";
import { weightsIn } from "../../../provider/cloud/marker";
import { awsApi, type FakeInstance } from "../../fake/cloud/awsApi";
import { listen } from "../../fake/cloud/head";

const place = { region: "us-west-2", clusterName: "versions-v1" };
const context = { urn: "", name: "reaper-v1", signal: new AbortController().signal, progress() {}, warn() {} };

describe("calls to AWS", function () {
  this.timeout(30_000);
  let api: Server;
  let instances: FakeInstance[];
  let terminated: string[];
  /** Off: a machine that was told to end goes on. */
  let obedient: boolean;
  let rules: Array<{ arn: string; action: Map<string, string> }>;
  const own: Record<string, string | undefined> = {};

  before(async () => {
    api = await listen(
      "127.0.0.1",
      0,
      awsApi({
        instances: () => instances,
        terminate(ids) {
          terminated.push(...ids);
          if (!obedient) return;
          for (const each of instances) if (ids.includes(each.id)) each.state = "terminated";
        },
        modifyRule: (arn, action) => rules.push({ arn, action }),
      }),
    );
    const environment = {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
      AWS_ACCESS_KEY_ID: "x",
      AWS_SECRET_ACCESS_KEY: "x",
    };
    for (const [name, value] of Object.entries(environment)) {
      own[name] = process.env[name];
      process.env[name] = value;
    }
  });
  after(async () => {
    for (const [name, value] of Object.entries(own)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    api.closeAllConnections();
    await new Promise((closed) => api.close(closed));
  });
  beforeEach(() => {
    const machine = (id: string, cluster: string, nodeType: string): FakeInstance => ({
      id,
      state: "running",
      tags: { "ray-cluster-name": cluster, "ray-node-type": nodeType },
    });
    instances = [
      machine("i-1", "versions-v1", "worker"),
      machine("i-2", "versions-v1", "worker"),
      machine("i-3", "versions-v1", "head"),
      machine("i-4", "versions-v2", "worker"),
    ];
    [terminated, rules, obedient] = [[], [], true];
  });

  it("count the workers of one cluster, not its head and not another's", async () => {
    assert.equal(await countWorkerInstances(place), 2);
  });

  it("end every machine of a cluster that is deleted, and no other's", async () => {
    await reaper.delete("versions-v1", { ...place, timeoutSeconds: 20 }, context);
    assert.deepEqual(terminated.sort(), ["i-1", "i-2", "i-3"]);
  });

  it("do not call machines gone that are not, and name them with the command that shows them", async () => {
    obedient = false;
    await assert.rejects(
      async () => reaper.delete("versions-v1", { ...place, timeoutSeconds: 0.1 }, context),
      /i-1 \(running\).* are still there.*aws ec2 describe-instances/,
    );
  });

  it("never take no name for a cluster's", () => {
    assert.equal(reaper.check({ ...place, clusterName: "", timeoutSeconds: 20 }).length, 1);
  });

  it("move all traffic by the weighted rule first, and have the marker say so", async () => {
    const targets = {
      region: "us-west-2",
      weights: "arn:w",
      marker: "arn:m",
      targetGroups: { v1: "arn:1", v2: "arn:2" },
    };
    await moveAllTraffic(targets, "v1", "v2");
    assert.deepEqual(
      rules.map(({ arn }) => arn),
      ["arn:w", "arn:m"],
    );
    const [weighted, marker] = rules.map(({ action }) => action);
    const group = (index: number) =>
      ["TargetGroupArn", "Weight"].map((key) => weighted?.get(`ForwardConfig.TargetGroups.member.${index}.${key}`));
    assert.deepEqual(
      [group(1), group(2)],
      [
        ["arn:1", "100"],
        ["arn:2", "0"],
      ],
    );
    assert.deepEqual(weightsIn(marker?.get("FixedResponseConfig.MessageBody") ?? ""), { v1: 100, v2: 0 });
  });
});
