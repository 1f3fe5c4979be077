import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RouteRule } from "../../../components/gcp/urlMap";
import { deploy, RolledBack, type RolloutEvent, rollback, status, terminate } from "../../../rollout/index";
import { askVersion } from "../../answers";
import { FakeGcp, WORKER } from "../../fake/cloud/gcpCloud";
import type { Operation } from "../../fake/cloud/objects";
import { reachedIn } from "../../waypoints";
import { load } from "../load";
import { CloudProject } from "../project";

const surge = 50;
const replicas = 4;

/**
 * Rollouts through the driver and the Pulumi engine on the target gcp. Fakes: the project with its machines, what runs in
 * them, and the plugin of @pulumi/gcp. The tests build on each other.
 */
describe("a service on Google Cloud", function () {
  this.timeout(180_000);
  this.bail(true);
  let cloud: FakeGcp;
  let project: CloudProject;
  let folder: string;
  let earlier: number;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-gcp-"));
    cloud = await FakeGcp.start(folder);
    const settings = {
      project: "my-project",
      zone: "us-central1-a",
      bootImage: "projects/my-project/global/images/family/ray",
      dashboardCidrs: ["10.0.0.0/8"],
      loadBalancer: { http: true, port: 18080, versionsPort: 18081 },
    };
    project = new CloudProject("gcp", settings, cloud.environment, { idleTimeoutSeconds: 1, drainTimeoutSeconds: 1 });
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
  const heads = () => cloud.objects.ofType("gcp:compute/instance:Instance").map(({ name }) => name);
  /** Where the first of some operations is, all of which have to be there. */
  const at = (operations: readonly Operation[], ...names: string[]) =>
    names.map((name) => {
      const found = operations.findIndex((each) => told(each) === name);
      assert.notEqual(found, -1, `${name} among ${operations.map(told).join(", ")}`);
      return found;
    });
  const inOrder = (operations: readonly Operation[], ...names: string[]) => {
    const found = at(operations, ...names);
    assert.deepEqual(
      [...found].sort((a, b) => a - b),
      found,
      names.join(", "),
    );
  };

  it("can be planned before there is anything, and nothing is made of that", async () => {
    const { code, stdout, stderr } = await project.plannedFirst("v1");
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /InstanceTemplate +template-v1-gpu +create/);
    assert.deepEqual(cloud.objects.operations(), []);
  });

  it("gets a head, templates for workers and a load balancer, and answers those who have the token", async () => {
    const { outcome, url } = await deploy({ folder: project.folder, file: project.serviceFile("v1", { replicas }) });
    assert.equal(outcome, "deployed");
    assert.deepEqual(heads(), ["head-v1"]);
    const { queryAuthToken } = await project.outputs();
    const authorization = `Bearer ${queryAuthToken}`;
    assert.equal(await askVersion(url, { authorization }), "v1");
    assert.equal(await askVersion(url, {}), "401");
    assert.equal(await askVersion(url, { authorization, "x-anyscale-version": "canary" }), "404");
    assert.equal(cloud.workers().length, replicas);
  });

  it("keeps Ray's token and the query token out of what anybody can read in the state", async () => {
    const { queryAuthToken } = await project.outputs();
    const shown = await project.pulumi("stack", "export");
    assert.ok(!shown.stdout.includes(queryAuthToken));
    const [secret] = cloud.objects.ofType("gcp:secretmanager/secretVersion:SecretVersion");
    const token = String(secret?.inputs.secretData);
    assert.ok(token.length > 20 && !shown.stdout.includes(token));
  });

  it("has nothing to do when it is deployed again, by the driver and by a plain preview", async () => {
    assert.equal(
      (await deploy({ folder: project.folder, file: project.serviceFile("v1", { replicas }) })).outcome,
      "unchanged",
    );
    const preview = await project.pulumi("preview", "--expect-no-changes");
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
  });

  it("rolls out within the surge in machines, with no request failed", async () => {
    const events: RolloutEvent[] = [];
    const stop = await load(project);
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, cloud.workers().length);
    }, 20);
    const { outcome } = await deploy({
      folder: project.folder,
      file: project.serviceFile("v2", { replicas }),
      maxSurgePercent: surge,
      onEvent: (event) => events.push(event),
    });
    clearInterval(watch);
    const answers = await stop();
    assert.equal(outcome, "completed");
    assert.deepEqual(Object.keys(answers).sort(), ["v1", "v2"], JSON.stringify(answers));
    assert.deepEqual(reachedIn(events), ["50 50 50", "0 100 100", "100 0 0"]);
    assert.equal(most, replicas * (1 + surge / 100));
    assert.deepEqual(heads(), ["head-v2"]);
    assert.deepEqual(cloud.tooEarly, [], "no request to a backend service whose health is not known");
  });

  it("did that in the order attach, weights, detach, delete, the head before its workers before what they are made of", () => {
    const operations = cloud.objects.operations();
    const [begun = 0] = at(operations, "create head-v2");
    const rollout = operations.slice(begun);
    const trafficOf = ({ inputs }: Operation) => {
      const [{ routeRules }] = inputs.pathMatchers as [{ routeRules: RouteRule[] }];
      const { service, routeAction } = routeRules[3] as RouteRule;
      return (
        routeAction?.weightedBackendServices?.map(({ weight }) => weight) ?? service?.split("/").at(-1)?.slice(0, 11)
      );
    };
    const moves = rollout.filter((each) => told(each) === "update service-map").map(trafficOf);
    assert.deepEqual(moves, [[50, 50], "versions-v2", "versions-v2"]);
    inOrder(
      rollout,
      "create backend-v2",
      "update versions-map",
      "update service-map",
      "delete backend-v1",
      "delete head-v1",
    );
    const end = rollout.slice(rollout.findLastIndex((each) => told(each) === "update service-map"));
    inOrder(
      end,
      "update service-map",
      "delete backend-v1",
      "delete head-group-v1",
      "delete head-v1",
      "delete template-v1-gpu",
    );
    const detached = rollout.findLastIndex((each) => told(each) === "update versions-map");
    assert.ok(detached < at(rollout, "delete backend-v1")[0]!, "no map names it when it goes");
    const replaced = rollout.filter(({ operation, type, name }) => {
      return operation === "create" && type !== WORKER && !name.includes("v2");
    });
    assert.deepEqual(replaced.map(told), []);
    const changed = rollout.filter(({ operation }) => operation === "update").map(({ name }) => name);
    assert.deepEqual([...new Set(changed)].sort(), [
      "serve-config-v1",
      "serve-config-v2",
      "service-map",
      "versions-map",
    ]);
  });

  it("is held at a split, and goes back to what it was", async () => {
    const held = await deploy({
      folder: project.folder,
      file: project.serviceFile("v3", { replicas }),
      canaryPercent: 25,
      maxSurgePercent: surge,
    });
    assert.equal(held.outcome, "held");
    const authorization = `Bearer ${(await project.outputs()).queryAuthToken}`;
    assert.equal(await askVersion(held.url, { authorization, "x-anyscale-version": "canary" }), "v3");
    const now = await status({ folder: project.folder });
    assert.deepEqual([now.primary?.traffic, now.canary?.traffic], [75, 25]);
    const kept = cloud.objects.ofType("gcp:storage/bucketObject:BucketObject").map(({ name, inputs }) => {
      return [name, JSON.parse(String(inputs.content)).target_capacity];
    });
    assert.deepEqual(kept.sort(), [
      ["serve-config-v2", 75],
      ["serve-config-v3", 25],
    ]);
    const stop = await load(project);
    assert.equal((await rollback({ folder: project.folder })).outcome, "rolledBack");
    const answers = await stop();
    assert.ok(
      Object.keys(answers).every((answer) => ["v2", "v3"].includes(answer)),
      JSON.stringify(answers),
    );
    assert.deepEqual(heads(), ["head-v2"]);
    const [leftTheMap = 0, deleted = 0] = at(since(), "update service-map", "delete backend-v3");
    assert.ok(leftTheMap < deleted);
  });

  it("takes a version back whose replicas cannot start, in Ray's words", async () => {
    const file = project.serviceFile("broken", { replicas, environment: { FAIL: "no such model" } });
    const stop = await load(project);
    await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge }), (error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /no such model/);
      return true;
    });
    assert.deepEqual(Object.keys(await stop()), ["v2"]);
    assert.deepEqual(heads(), ["head-v2"]);
  });

  it("ends with every machine, workers too, and nothing is left in the project", async () => {
    assert.ok(cloud.workers().length > 0);
    assert.equal((await terminate({ folder: project.folder })).outcome, "terminated");
    assert.deepEqual(cloud.workers(), []);
    assert.deepEqual(
      cloud.objects.all().map(({ name }) => name),
      [],
    );
    inOrder(
      since(),
      "delete service-map",
      "delete backend-v2",
      "delete head-v2",
      "delete template-v2-gpu",
      "delete subnetwork",
    );
    const lastWorker = since().findLastIndex(({ operation, type }) => operation === "delete" && type === WORKER);
    const [head = 0, template = 0] = at(since(), "delete head-v2", "delete template-v2-gpu");
    assert.ok(head < lastWorker && lastWorker < template, since().map(told).join(", "));
  });
});
