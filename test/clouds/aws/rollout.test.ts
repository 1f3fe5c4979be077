import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deploy, RolledBack, type RolloutEvent, rollback, status, terminate } from "../../../rollout/index";
import { askVersion } from "../../answers";
import { FakeAws } from "../../fake/cloud/awsCloud";
import type { Operation } from "../../fake/cloud/objects";
import { reachedIn } from "../../waypoints";
import { load } from "../load";
import { CloudProject } from "../project";

const surge = 50;
const PORT = 8080;

/**
 * Rollouts through the driver and the Pulumi engine on the target aws. Fakes: the account with its machines, what runs in
 * them, and the plugin of @pulumi/aws. The tests build on each other.
 */
describe("a service on AWS", function () {
  this.timeout(300_000);
  this.bail(true);
  let cloud: FakeAws;
  let project: CloudProject;
  let folder: string;
  let earlier: number;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-aws-"));
    cloud = await FakeAws.start(folder);
    const settings = {
      region: "us-west-2",
      vpcId: "vpc-0a1b2c3d4e5f60718",
      subnetIds: ["subnet-0a1b2c3d4e5f60718", "subnet-1a1b2c3d4e5f60718"],
      ami: "ami-0a1b2c3d4e5f60718",
      dashboardCidrs: ["10.0.0.0/16"],
      loadBalancer: { http: true, port: PORT },
    };
    project = new CloudProject("aws", settings, cloud.environment, { idleTimeoutSeconds: 1, drainTimeoutSeconds: 1 });
  });
  after(async () => {
    await project?.rayshift("terminate");
    project?.removeFolder();
    await cloud?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    earlier = cloud.objects.operations().length;
  });

  const since = () => cloud.objects.operations().slice(earlier);
  const told = ({ operation, name }: Operation) => `${operation} ${name}`;
  const clusters = () => cloud.objects.ofType("aws:autoscaling/group:Group").map(({ name }) => name);

  it("can be planned before there is anything, and nothing is made of that", async () => {
    const { code, stdout, stderr } = await project.plannedFirst("v1");
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /LaunchTemplate +workers-v1-gpu +create/);
    assert.deepEqual(cloud.objects.operations(), []);
  });

  it("gets a head, templates for workers and a load balancer, and answers those who have the token", async () => {
    const { outcome, url } = await deploy({ folder: project.folder, file: project.serviceFile("v1") });
    assert.equal(outcome, "deployed");
    assert.deepEqual(clusters(), ["head-v1"]);
    const { queryAuthToken } = await project.outputs();
    const authorization = `Bearer ${queryAuthToken}`;
    assert.equal(await askVersion(url, { authorization }), "v1");
    assert.equal(await askVersion(url, {}), "401");
    assert.equal(await askVersion(url, { authorization, "x-anyscale-version": "canary" }), "404");
    assert.equal(cloud.running().length, 1 + 4, "a head, and a worker for each replica");
  });

  it("keeps Ray's token and the query token out of what anybody can read in the state", async () => {
    const { queryAuthToken } = await project.outputs();
    const shown = await project.pulumi("stack", "export");
    assert.ok(!shown.stdout.includes(queryAuthToken));
    const secret = cloud.objects.ofType("aws:secretsmanager/secretVersion:SecretVersion")[0];
    const [rayToken = "none"] = String(secret?.inputs.secretString).split("\n");
    assert.ok(rayToken.length > 20 && !shown.stdout.includes(rayToken));
  });

  it("has nothing to do when it is deployed again, by the driver and by a plain preview", async () => {
    assert.equal((await deploy({ folder: project.folder, file: project.serviceFile("v1") })).outcome, "unchanged");
    const preview = await project.pulumi("preview", "--expect-no-changes");
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
  });

  it("rolls out within the surge in machines, with no request failed, detaching before it deletes", async () => {
    const events: RolloutEvent[] = [];
    const stop = await load(project);
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, cloud.running().length);
    }, 20);
    const { outcome } = await deploy({
      folder: project.folder,
      file: project.serviceFile("v2"),
      maxSurgePercent: surge,
      onEvent: (event) => events.push(event),
    }).finally(() => clearInterval(watch));
    const answers = await stop();
    assert.equal(outcome, "completed");
    assert.deepEqual(Object.keys(answers).sort(), ["v1", "v2"], JSON.stringify(answers));
    assert.deepEqual(reachedIn(events), ["50 50 50", "0 100 100", "100 0 0"]);
    assert.equal(most, 2 + 4 * (1 + surge / 100), "two heads, and a worker for each replica of 150 %");
    assert.deepEqual(clusters(), ["head-v2"]);
  });

  it("did that in the order grow, weights, marker, detach, head, templates", () => {
    const operations = cloud.objects.operations();
    const made = operations.findIndex((each) => told(each) === "create head-v2");
    const all = operations.slice(made);
    const first = (text: string) => {
      const at = all.findIndex((each) => told(each) === text);
      assert.notEqual(at, -1, `${text} among ${all.map(told).join(", ")}`);
      return at;
    };
    const weightsOf = ({ inputs }: Operation) =>
      (inputs.actions as Array<{ forward: { targetGroups: Array<{ weight: number }> } }>)[0]!.forward.targetGroups.map(
        ({ weight }) => weight,
      );
    const moves = all.filter((each) => told(each) === "update rule-traffic").map(weightsOf);
    assert.deepEqual(moves, [[50, 50], [0, 100], [100]]);
    assert.ok(
      first("update rule-canary") < first("update rule-traffic"),
      "the canary answers by its rule before its weight",
    );
    assert.ok(first("update rule-traffic") < first("update rule-marker"));
    const detached = all.findLastIndex((each) => told(each) === "update rule-traffic");
    assert.ok(detached < first("delete targets-v1"), "the rule leads elsewhere before its target group goes");
    assert.ok(
      first("delete head-v1") < first("delete workers-v1-gpu"),
      "no head launches from a template that is gone",
    );
    assert.ok(first("delete workers-v1-gpu") < first("delete worker-role-v1"));
    const replaced = all.filter(({ operation, name }) => operation === "create" && !name.includes("v2"));
    assert.deepEqual(replaced.map(told), []);
    const ofRunning = all.filter(({ operation, name }) => operation === "update" && !name.startsWith("rule-"));
    assert.deepEqual([...new Set(ofRunning.map(({ name }) => name))].sort(), ["serve-config-v1", "serve-config-v2"]);
  });

  it("is held at a split, and goes back to what it was", async () => {
    const held = await deploy({
      folder: project.folder,
      file: project.serviceFile("v3"),
      canaryPercent: 25,
      maxSurgePercent: surge,
    });
    assert.equal(held.outcome, "held");
    const { queryAuthToken } = await project.outputs();
    const headers = { authorization: `Bearer ${queryAuthToken}`, "x-anyscale-version": "canary" };
    assert.equal(await askVersion(held.url, headers), "v3");
    const now = await status({ folder: project.folder });
    assert.deepEqual([now.primary?.traffic, now.canary?.traffic], [75, 25]);
    const saved = cloud.objects.ofType("aws:s3/bucketObjectv2:BucketObjectv2").map(({ name, inputs }) => {
      return [name, JSON.parse(String(inputs.content)).target_capacity];
    });
    assert.deepEqual(saved.sort(), [
      ["serve-config-v2", 75],
      ["serve-config-v3", 25],
    ]);
    const stop = await load(project);
    assert.equal((await rollback({ folder: project.folder })).outcome, "rolledBack");
    assert.ok(Object.keys(await stop()).every((answer) => ["v2", "v3"].includes(answer)));
    assert.deepEqual(clusters(), ["head-v2"]);
    assert.ok(since().some((each) => told(each) === "delete targets-v3"));
  });

  it("takes a version back whose replicas cannot start, in Ray's words", async () => {
    const file = project.serviceFile("broken", { environment: { FAIL: "no such model" } });
    const stop = await load(project);
    await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge }), (error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /no such model/);
      return true;
    });
    assert.deepEqual(Object.keys(await stop()), ["v2"]);
    assert.deepEqual(clusters(), ["head-v2"]);
  });

  it("ends with every machine, workers too, and nothing is left in the account", async () => {
    assert.ok(cloud.running().some(({ tags }) => tags["ray-node-type"] === "worker"));
    assert.equal((await terminate({ folder: project.folder })).outcome, "terminated");
    assert.deepEqual(cloud.running(), []);
    assert.deepEqual(
      cloud.objects.all().map(({ name }) => name),
      [],
    );
    const order = since().map(told);
    assert.ok(order.indexOf("delete head-v2") < order.indexOf("delete workers-v2-gpu"));
    assert.ok(order.indexOf("delete rule-traffic") < order.indexOf("delete targets-v2"));
    assert.ok(order.indexOf("delete workers-v2-gpu") < order.indexOf("delete nodes"));
  });
});
