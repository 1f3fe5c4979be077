import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { deploy, type RolloutEvent, rollback, status, terminate } from "../../rollout/index";
import { askVersion, countAnswers } from "../answers";
import { reachedIn } from "../waypoints";
import { BUILD_MS } from "./bed/bed";
import { until } from "./bed/until";
import { KubernetesProject } from "./project";
import { ServiceOnBed } from "./service";

const replicas = 4;
const surge = 50;
/** What 100 + surge take: a worker with a GPU for each replica, and two heads. */
const mostGpus = (replicas * (100 + surge)) / 100;
/** To measure weights by. */
const REQUESTS = 400;

/**
 * Rollouts through the driver and the Pulumi engine on a real API server, with the real KubeRay operator and the real
 * Envoy Gateway and Envoy. The tests build on each other.
 */
describe("a service on Kubernetes", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let service: ServiceOnBed;
  let project: KubernetesProject;

  before(async () => {
    service = await ServiceOnBed.start({
      nodes: 2,
      gpusPerNode: replicas,
      quota: { pods: mostGpus + 2, gpus: mostGpus },
    });
    project = service.project;
  });
  after(() => service?.stop());

  /** Both, and waits until neither is left: a killed process holds its lock until the kernel is done with it. */
  const killWithEngine = async (driver: ChildProcess) => {
    const ended = once(driver, "exit");
    driver.kill("SIGKILL");
    for (const pid of project.engines()) process.kill(pid, "SIGKILL");
    await ended;
    await until("the engine's end", 60, () => project.engines().length === 0 || undefined);
  };

  it("can be planned without a cluster", async () => {
    const elsewhere = new KubernetesProject(service.bed.plugin, {
      kubeconfig: join(project.folder, "none"),
      gateway: { name: "none" },
    });
    elsewhere.configure({ service: parse(readFileSync(elsewhere.serviceFile("v1"), "utf8")) });
    await elsewhere.pulumi("stack", "init");
    const preview = await elsewhere.pulumi("preview");
    elsewhere.removeFolder();
    Object.assign(process.env, project.environment);
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
    assert.match(preview.stdout, /RayService +rayservice-v1 +create/);
  });

  it("gets a RayService and a route, and answers those who have the token", async () => {
    const { outcome } = await deploy({ folder: project.folder, file: project.serviceFile("v1") });
    assert.equal(outcome, "deployed");
    assert.deepEqual(await service.rayServices(), ["versions-v1"]);
    const headers = await service.headers();
    assert.equal(await askVersion(service.url, headers), "v1");
    assert.equal(await askVersion(service.url, {}), "401");
    assert.equal(await askVersion(service.url, { authorization: "Bearer another" }), "401");
    assert.equal(await askVersion(service.url, { ...headers, "x-anyscale-version": "primary" }), "v1");
    assert.equal(await askVersion(service.url, { ...headers, "x-anyscale-version": "canary" }), "404");
  });

  it("keeps its query token out of the state's plain text", async () => {
    const { authorization = "" } = await service.headers();
    const token = authorization.replace("Bearer ", "");
    assert.ok(token.length >= 16);
    const { stdout } = await project.pulumi("stack", "export");
    assert.match(stdout, /query-token-secret/);
    for (const plain of [token, authorization]) {
      assert.equal(stdout.includes(plain), false);
      assert.equal(stdout.includes(Buffer.from(plain).toString("base64")), false);
    }
  });

  it("has nothing to do when it is deployed again, by the driver and by a plain preview", async () => {
    assert.equal((await deploy({ folder: project.folder, file: project.serviceFile("v1") })).outcome, "unchanged");
    const preview = await project.pulumi("preview", "--expect-no-changes");
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
  });

  it("keeps its clusters where another kubeconfig has another address of the same API server", async () => {
    const uids = async () => (await service.pods()).map(({ metadata }) => metadata.uid).sort();
    const before = await uids();
    const own = JSON.parse(readFileSync(service.kubeconfig, "utf8"));
    own.clusters[0].cluster.server += "/";
    const other = join(project.folder, "other-kubeconfig");
    writeFileSync(other, JSON.stringify(own), { mode: 0o600 });
    const settings = parse(readFileSync(join(project.folder, "Pulumi.dev.yaml"), "utf8")).config["rayshift:kubernetes"];
    for (const kubeconfig of [other, service.kubeconfig]) {
      project.configure({ kubernetes: { ...settings, kubeconfig } });
      const up = await project.pulumi("up", "--yes", "--skip-preview");
      assert.equal(up.code, 0, up.stdout + up.stderr);
      assert.deepEqual(await uids(), before, up.stdout);
    }
  });

  it("takes over what a killed update made and no state has, where the config is another one by now", async () => {
    const settings = parse(readFileSync(join(project.folder, "Pulumi.dev.yaml"), "utf8")).config["rayshift:kubernetes"];
    const state = JSON.parse((await project.pulumi("stack", "export")).stdout);
    const gateway = state.deployment.resources.find(({ urn }: { urn: string }) => urn.endsWith("::gateway")).urn;
    const without = state.deployment.resources.filter(({ urn }: { urn: string }) => urn !== gateway);
    for (const resource of without) {
      resource.dependencies = resource.dependencies?.filter((urn: string) => urn !== gateway);
    }
    const file = join(project.folder, "state.json");
    writeFileSync(file, JSON.stringify({ ...state, deployment: { ...state.deployment, resources: without } }));
    const imported = await project.pulumi("stack", "import", "--file", file);
    assert.equal(imported.code, 0, imported.stderr);
    for (const other of [{ port: 8081 }, {}]) {
      project.configure({ kubernetes: { ...settings, gateway: { ...settings.gateway, ...other } } });
      const up = await project.pulumi("up", "--yes", "--skip-preview");
      assert.equal(up.code, 0, up.stdout + up.stderr);
    }
  });

  it("rolls out within a quota of pods and GPUs that just fits the surge, with no request failed", async () => {
    const events: RolloutEvent[] = [];
    const traffic = await service.send();
    const { outcome } = await deploy({
      folder: project.folder,
      file: project.serviceFile("v2"),
      maxSurgePercent: surge,
      onEvent: (event) => events.push(event),
    });
    const answers = await traffic.stop();
    assert.equal(outcome, "completed");
    assert.deepEqual(Object.keys(answers).sort(), ["v1", "v2"], JSON.stringify(answers));
    const failed = await service.envoyCounts("downstream_rq_5xx");
    assert.ok(Object.keys(failed).length > 0, "Envoy counts them");
    assert.deepEqual(
      Object.entries(failed).filter(([, count]) => count > 0),
      [],
    );
    assert.deepEqual(reachedIn(events), ["50 50 50", "0 100 100", "100 0 0"]);
    assert.deepEqual(await service.refusals(), []);
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    // KubeRay's own upgrade would make its own.
    assert.deepEqual(await service.routesAndGateways(), ["HTTPRoute versions", "Gateway edge"]);
    const left = (await service.pods()).filter(
      ({ metadata }) => metadata.labels?.["rayshift.io/cluster"] !== "versions-v2",
    );
    assert.deepEqual(
      left.map(({ metadata }) => metadata.name),
      [],
    );
    assert.equal((await status({ folder: project.folder })).state, "RUNNING");
  });

  it("is held at a split that Envoy keeps to, and goes back to what it was", async () => {
    const held = await deploy({
      folder: project.folder,
      file: project.serviceFile("v3"),
      canaryPercent: 25,
      maxSurgePercent: surge,
    });
    assert.equal(held.outcome, "held");
    const headers = await service.headers();
    assert.equal(await askVersion(service.url, { ...headers, "x-anyscale-version": "canary" }), "v3");
    assert.equal(await askVersion(service.url, { ...headers, "x-anyscale-version": "primary" }), "v2");
    const answers = await countAnswers(service.url, headers, REQUESTS);
    assert.deepEqual(Object.keys(answers).sort(), ["v2", "v3"], JSON.stringify(answers));
    const share = (answers.v3 ?? 0) / REQUESTS;
    assert.ok(share > 0.17 && share < 0.33, `${answers.v3} of ${REQUESTS} requests at 25 %`);
    const now = await status({ folder: project.folder });
    assert.deepEqual([now.primary?.traffic, now.canary?.traffic], [75, 25]);
    // A new operator has sent nothing yet, and a new head has nothing: both get the capacity with the applications.
    await service.bed.restartOperator();
    const [head] = await service.podsOf("v3", "head");
    assert.ok(head);
    await service.deletePod(head);
    await until("the canary as it was, on a new head", 120, async () => {
      const heads = await service.podsOf("v3", "head");
      if (heads.some(({ metadata }) => metadata.uid === head.metadata.uid)) return undefined;
      const { canary } = await status({ folder: project.folder });
      return (canary?.capacity === 25 && canary.replicas?.running === 1) || undefined;
    });
    assert.equal((await rollback({ folder: project.folder })).outcome, "rolledBack");
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    assert.deepEqual(await service.refusals(), []);
    assert.deepEqual(await countAnswers(service.url, headers, 20), { v2: 20 });
  });

  it("goes back from a rollout whose driver and engine were killed, and leaves no RayService of it", async () => {
    const file = project.serviceFile("v5");
    const driver = project.startRayshift("deploy", "-f", file, "--max-surge-percent", String(surge));
    await until("the canary's RayService", 60, async () => {
      return (await service.rayServices()).includes("versions-v5") || undefined;
    });
    await killWithEngine(driver);
    assert.equal((await rollback({ folder: project.folder })).outcome, "rolledBack");
    assert.deepEqual(await service.rayServices(), ["versions-v2"]);
    assert.equal((await status({ folder: project.folder })).state, "RUNNING");
  });

  it("rolls out from where a killed driver and engine left it", async () => {
    const file = project.serviceFile("v6");
    const traffic = await service.send();
    const driver = project.startRayshift("deploy", "-f", file, "--max-surge-percent", String(surge));
    await until("traffic of the canary", 120, async () => {
      const { spec } = await service.bed.api.get(service.routePath);
      return JSON.stringify(spec).includes("versions-v6-serve-svc") || undefined;
    });
    await killWithEngine(driver);
    assert.equal((await deploy({ folder: project.folder, file, maxSurgePercent: surge })).outcome, "completed");
    const answers = await traffic.stop();
    assert.deepEqual(Object.keys(answers).sort(), ["v2", "v6"], JSON.stringify(answers));
    assert.deepEqual(await service.rayServices(), ["versions-v6"]);
  });

  it("finds that somebody changed the route, and puts it right", async () => {
    await service.bed.api.patch(service.routePath, [
      { op: "replace", path: "/spec/rules/0/backendRefs/0/weight", value: 7 },
    ]);
    const found = await status({ folder: project.folder });
    assert.match(found.problems.join(), /somebody changed the load balancer's weights/);
    await deploy({ folder: project.folder, file: project.serviceFile("v6") });
    assert.equal((await status({ folder: project.folder })).state, "RUNNING");
  });

  it("leaves nothing when it is ended", async () => {
    const { namespace } = service;
    await terminate({ folder: project.folder });
    await until("the end of what killed engines left", 30, () => project.helpers().length === 0 || undefined);
    assert.deepEqual(await service.rayServices(), []);
    const names = (objects: Array<{ metadata: { name: string } }>) => objects.map(({ metadata }) => metadata.name);
    assert.deepEqual(names(await service.pods()), []);
    for (const [group, kinds] of Object.entries({
      "gateway.networking.k8s.io/v1": ["httproutes", "gateways"],
      "gateway.envoyproxy.io/v1alpha1": ["securitypolicies", "httproutefilters"],
      "networking.k8s.io/v1": ["networkpolicies"],
      "policy/v1": ["poddisruptionbudgets"],
    })) {
      for (const kind of kinds) {
        assert.deepEqual(names(await service.list(`/apis/${group}/namespaces/${namespace}/${kind}`)), [], kind);
      }
    }
    const secrets = await service.list(`/api/v1/namespaces/${namespace}/secrets`);
    assert.deepEqual(
      names(secrets).filter((name) => name.startsWith("versions")),
      [],
    );
    assert.equal(await askVersion(service.url, {}).then((answer) => /^\d+$/.test(answer)), false, "no Envoy is left");
  });
});
