import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse, stringify } from "yaml";
import { ask } from "../../provider/kubernetes/api";
import {
  deploy,
  InvalidInput,
  RolledBack,
  type RolloutEvent,
  rollback,
  status,
  supervise,
  UpdateFailed,
} from "../../rollout/index";
import { askVersion } from "../answers";
import type { Instant } from "../chaos/crash";
import { watched } from "../chaos/stage";
import { ApiError } from "./bed/api";
import { type Bed, BUILD_MS, startBed } from "./bed/bed";
import { until } from "./bed/until";
import { KubernetesProject } from "./project";
import { ServiceOnBed } from "./service";

const replicas = 4;
const surge = 50;
const mostGpus = (replicas * (100 + surge)) / 100;

/** The service file with changes to what it says. */
function changed(file: string, changes: Record<string, unknown>): string {
  writeFileSync(file, stringify({ ...parse(readFileSync(file, "utf8")), ...changes }));
  return file;
}

/** The API server takes its time to forget a definition, on a busy host above all. */
const LOSS_SECONDS = 120;

describe("a service on a Kubernetes that lacks something", function () {
  this.timeout(BUILD_MS);
  let bed: Bed;
  const projects: KubernetesProject[] = [];
  before(async () => {
    bed = await startBed("api");
  });
  after(async () => {
    for (const project of projects) project.removeFolder();
    await bed?.stop();
  });

  const deployed = async (kubernetes: Record<string, unknown>) => {
    const project = new KubernetesProject(bed.plugin, { kubeconfig: bed.kubeconfig, ...kubernetes });
    projects.push(project);
    const { code, stderr } = await project.rayshift("deploy", "-f", project.serviceFile("v1"));
    assert.equal(code, 2, stderr);
    return stderr;
  };

  it("is told of all of it before anything changes", async () => {
    const said = await deployed({ namespace: "nowhere", gateway: { name: "none" } });
    assert.match(said, /kubernetes\.namespace: "nowhere" does not exist; make it: kubectl create namespace/);
    assert.match(said, /kubernetes\.gateway\.name: "none" is no Gateway/);
  });

  it("is told which definitions are missing, and what brings them", async () => {
    /** Definitions, each PLURAL.GROUP, and the path where their group is told. */
    const lose = async (path: string, ...definitions: string[]) => {
      for (const name of definitions) {
        await bed.api.delete(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`);
      }
      const plurals = definitions.map((name) => name.split(".")[0]);
      await until(`the loss of ${definitions.join(" and ")}`, LOSS_SECONDS, async () => {
        const known = await bed.api.get(path).catch((error) => {
          if (error instanceof ApiError && error.status === 404) return {};
          throw error;
        });
        const text = JSON.stringify(known);
        return !plurals.some((plural) => text.includes(`"${plural}"`)) || undefined;
      });
    };
    await lose("/apis/ray.io/v1", "rayservices.ray.io");
    await lose("/apis/gateway.networking.k8s.io/v1", "httproutes.gateway.networking.k8s.io");
    const said = await deployed({ gateway: { name: "none" } });
    assert.match(said, /no rayservices of KubeRay \(ray\.io\/v1\); install its operator, 1\.5 or newer, with its CRDs/);
    assert.match(said, /no httproutes of Gateway API .*; install its CRDs/);
    const group = "gateway.envoyproxy.io";
    await lose(`/apis/${group}/v1alpha1`, `securitypolicies.${group}`, `httproutefilters.${group}`);
    assert.match(
      await deployed({ gateway: { name: "none" } }),
      /no securitypolicies and httproutefilters of Envoy Gateway \(gateway\.envoyproxy\.io\/v1alpha1\)/,
    );
  });

  it("gets the answers to what it asked before its kubeconfig is written anew", async () => {
    const kubeconfig = join(projects[0]!.folder, "renewed");
    const renew = () => writeFileSync(kubeconfig, readFileSync(bed.kubeconfig), { mode: 0o600 });
    renew();
    const underway = ask({ kubeconfig }, "/api/v1/namespaces?watch=1&timeoutSeconds=3");
    await sleep(1000);
    renew();
    assert.equal((await ask({ kubeconfig }, "/version")).status, 200);
    assert.equal((await underway).status, 200);
  });

  it("is told that its credentials are refused, or that nothing answers", async () => {
    const expired = join(projects[0]!.folder, "expired");
    const config = JSON.parse(readFileSync(bed.kubeconfig, "utf8"));
    config.users[0].user.token = "expired";
    writeFileSync(expired, JSON.stringify(config), { mode: 0o600 });
    const refused = await deployed({ kubeconfig: expired, gateway: { name: "none" } });
    assert.match(
      refused,
      /does not accept the credentials of kubeconfig \S+ \(401\)\. Are they expired\? Log in again/,
    );
    config.clusters[0].cluster.server = "https://127.0.0.1:1";
    writeFileSync(expired, JSON.stringify(config), { mode: 0o600 });
    const silent = await deployed({ kubeconfig: expired, gateway: { name: "none" } });
    assert.match(silent, /https:\/\/127\.0\.0\.1:1 .*cannot be reached: .*ECONNREFUSED/);
    assert.match(silent, /see that `kubectl get namespaces` works/);
  });
});

/** Real and fake parts as in the tests of rollouts. After each fault v1 alone serves, and nothing else is left. */
describe("a service on Kubernetes whose next version is bad", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let service: ServiceOnBed;
  let project: KubernetesProject;
  let kubeconfig: string;

  before(async () => {
    service = await ServiceOnBed.start({
      nodes: 2,
      gpusPerNode: replicas,
      quota: { pods: mostGpus + 2, gpus: mostGpus },
    });
    project = service.project;
    kubeconfig = readFileSync(service.kubeconfig, "utf8");
  });
  after(() => service?.stop());

  const names = (objects: Array<{ metadata: { name: string } }>) => objects.map(({ metadata }) => metadata.name);

  const onlyFirstIsLeft = async () => {
    assert.deepEqual(await service.rayServices(), ["versions-v1"]);
    const budgets = await service.list(`/apis/policy/v1/namespaces/${service.namespace}/poddisruptionbudgets`);
    assert.deepEqual(names(budgets), ["versions-v1-head"]);
    const strangers = (await service.pods()).filter(({ metadata }) => !metadata.name.startsWith("versions-v1-"));
    assert.deepEqual(names(strangers), []);
    const { spec } = await service.bed.api.get(service.routePath);
    assert.deepEqual([...new Set(JSON.stringify(spec).match(/versions-\w+-serve-svc/g))], ["versions-v1-serve-svc"]);
    const { state, primary } = await status({ folder: project.folder });
    assert.deepEqual([state, primary?.traffic, primary?.replicas?.running], ["RUNNING", 100, replicas]);
  };

  /** Deploys a version that is to be taken back, with requests meanwhile that v1 alone may answer. */
  const takenBack = async (file: string, reason: RegExp, canaryPercent?: number) => {
    const traffic = await service.send();
    try {
      await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge, canaryPercent }), (error) => {
        assert.ok(error instanceof RolledBack, String(error));
        assert.match(error.message, reason);
        return true;
      });
    } finally {
      assert.deepEqual(Object.keys(await traffic.stop()), ["v1"]);
    }
    await onlyFirstIsLeft();
  };

  it("is told who owns a field that its own objects need", async () => {
    const path = `/apis/gateway.networking.k8s.io/v1/namespaces/${service.namespace}/gateways/edge`;
    await service.bed.api.apply(path, {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "edge" },
      spec: { gatewayClassName: "envoy", listeners: [{ name: "http", port: 8081, protocol: "HTTP" }] },
    });
    await assert.rejects(deploy({ folder: project.folder, file: project.serviceFile("v1") }), (error) => {
      assert.ok(error instanceof UpdateFailed, String(error));
      assert.match(error.message, /conflict with "bed".*\.spec\.listeners/s);
      assert.match(error.message, /kubectl .*--show-managed-fields/);
      return true;
    });
    await service.bed.api.delete(path);
    assert.equal((await deploy({ folder: project.folder, file: project.serviceFile("v1") })).outcome, "deployed");
    await onlyFirstIsLeft();
  });

  it("takes a version back whose replicas cannot start, in Ray's words", async () => {
    await takenBack(project.serviceFile("broken", { environment: { FAIL: "no such model" } }), /no such model/);
  });

  it("takes a version back whose code cannot be imported, in Python's words", async () => {
    const file = changed(project.serviceFile("unimportable"), { applications: [{ import_path: "missing:app" }] });
    await takenBack(file, /ModuleNotFoundError: No module named 'missing'/);
  });

  it("takes a version back whose image cannot be had, and names it", async () => {
    const file = project.serviceFile("imageless", { image: "missing.invalid/ray:0" });
    await takenBack(file, /ImagePullBackOff.*missing\.invalid\/ray:0/);
  });

  it("takes a version back whose GPUs no node has, and names the pod", async () => {
    project.configure({ startupTimeoutSeconds: 20 });
    await service.setGpuQuota(100);
    const file = changed(project.serviceFile("greedy"), {
      compute_config: { worker_nodes: [{ name: "gpu", resources: { CPU: 1, GPU: 16 }, min_nodes: 0, max_nodes: 8 }] },
    });
    await takenBack(
      file,
      /pod versions-greedy-\S+: Unschedulable: 0\/3 nodes are available: .*Insufficient nvidia\.com\/gpu/,
    );
    await service.setGpuQuota(mostGpus);
  });

  it("takes a version back whose pods a quota refuses, and has said so before", async () => {
    await service.setGpuQuota(replicas);
    const notices: string[] = [];
    const onEvent = (event: RolloutEvent) => {
      if (event.event === "started") notices.push(...event.notices);
    };
    const file = project.serviceFile("second");
    await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge, onEvent }), (error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /Kubernetes says: .*exceeded quota: fits.*requests.nvidia.com\/gpu/s);
      return true;
    });
    assert.match(
      notices.join(),
      /fits leaves this service 4 of requests\.nvidia\.com\/gpu.* take 6, and pods would be/,
    );
    await onlyFirstIsLeft();
    project.configure({ startupTimeoutSeconds: 300 });
  });

  it("refuses a version whose GPUs, by its spec, do not fit a quota, before anything changes", async () => {
    const deployments = [{ name: "Versions", num_replicas: 2 * replicas, ray_actor_options: { num_gpus: 1 } }];
    const file = changed(project.serviceFile("large"), {
      applications: [{ import_path: "versions:app", deployments }],
    });
    await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge }), (error) => {
      assert.ok(error instanceof InvalidInput, String(error));
      assert.match(
        error.message,
        /fits leaves this service 4 of requests\.nvidia\.com\/gpu .*no surge fits: raise the/,
      );
      assert.match(error.message, /nothing was changed/);
      return true;
    });
    await onlyFirstIsLeft();
    await service.setGpuQuota(mostGpus);
  });

  it("blames no version for credentials that expire in its rollout, and goes on with others", async () => {
    const traffic = await service.send();
    let expired = false;
    const onEvent = (event: RolloutEvent) => {
      if (event.event !== "reached" || expired) return;
      expired = true;
      const config = JSON.parse(kubeconfig);
      config.users[0].user.token = "expired";
      writeFileSync(service.kubeconfig, JSON.stringify(config), { mode: 0o600 });
    };
    const file = project.serviceFile("third");
    try {
      await assert.rejects(deploy({ folder: project.folder, file, maxSurgePercent: surge, onEvent }), (error) => {
        assert.ok(error instanceof UpdateFailed, String(error));
        assert.match(error.message, /does not accept the credentials of kubeconfig \S+ .*\(401\)\. Are they expired\?/);
        return true;
      });
      assert.deepEqual(await service.rayServices(), ["versions-third", "versions-v1"]);
    } finally {
      writeFileSync(service.kubeconfig, kubeconfig, { mode: 0o600 });
    }
    assert.equal((await rollback({ folder: project.folder })).outcome, "rolledBack");
    const answers = await traffic.stop();
    assert.deepEqual(Object.keys(answers).sort(), ["third", "v1"], JSON.stringify(answers));
    await onlyFirstIsLeft();
  });

  /** Has a canary with 70 % of the traffic whose head is gone for good: no node has room for another one. */
  const withoutHead = async (version: string, run: () => Promise<void>) => {
    const file = project.serviceFile(version);
    await deploy({ folder: project.folder, file, maxSurgePercent: surge, canaryPercent: 70 });
    const taint = { key: "nvidia.com/gpu", effect: "NoSchedule" };
    const cordon = (on: boolean) =>
      service.bed.api.patch("/api/v1/nodes/cpu-0", [{ op: "add", path: "/spec/unschedulable", value: on }]);
    for (const name of ["gpu-0", "gpu-1"]) {
      await service.bed.api.patch(`/api/v1/nodes/${name}`, [{ op: "add", path: "/spec/taints", value: [taint] }]);
    }
    await cordon(true);
    const [head] = await service.podsOf(version, "head");
    assert.ok(head);
    await service.deletePod(head);
    await run();
    await cordon(false);
    assert.equal(await askVersion(service.url, await service.headers()), "v1");
    await onlyFirstIsLeft();
  };

  it("is taken off a canary with 70 % of the traffic whose head is gone and does not come back", async () => {
    await withoutHead("headless", async () => {
      await assert.rejects(supervise({ folder: project.folder, once: true }), (error) => {
        assert.ok(error instanceof RolledBack, String(error));
        assert.match(error.message, /headless: its head does not answer/);
        assert.match(error.message, /pod versions-headless-\S+-head-\S+: Unschedulable: 0\/3 nodes are available/);
        return true;
      });
    });
  });

  it("grows again where the command that took off such a canary was killed before that", async () => {
    await withoutHead("beheaded", async () => {
      const at: Instant = { name: "pulumi up", occurrence: 1, when: "before" };
      const { code, stdout, stderr } = await watched(project, ["supervise", "--once"], { at, victim: "driver" });
      assert.equal(code, -1, stdout + stderr);
      assert.deepEqual(await service.rayServices(), ["versions-v1"]);
      const { primary } = await status({ folder: project.folder });
      assert.ok((primary?.capacity ?? 100) < 100, `it is at ${primary?.capacity}%`);
      await assert.rejects(supervise({ folder: project.folder, once: true }), (error) => {
        assert.ok(error instanceof RolledBack, String(error));
        assert.match(error.message, /its head does not answer/);
        return true;
      });
    });
  });

  it("is made again as it was where somebody deleted its RayService, its route, or a pod", async () => {
    const file = project.serviceFile("v1");
    const [worker] = await service.podsOf("v1", "worker");
    assert.ok(worker);
    await service.deletePod(worker);
    await until("a worker in its place", 60, async () => {
      const { primary } = await status({ folder: project.folder });
      const pods = await service.podsOf("v1", "worker");
      const replaced = !pods.some(({ metadata }) => metadata.uid === worker.metadata.uid);
      return (replaced && primary?.replicas?.running === replicas) || undefined;
    });
    await service.bed.api.delete(service.routePath);
    const { problems } = await status({ folder: project.folder });
    assert.match(problems.join(), /load balancer/);
    await deploy({ folder: project.folder, file });
    await onlyFirstIsLeft();
    await service.bed.api.delete(`/apis/ray.io/v1/namespaces/${service.namespace}/rayservices/versions-v1`);
    await until("its end", 60, async () => (await service.rayServices()).length === 0 || undefined);
    await deploy({ folder: project.folder, file });
    await onlyFirstIsLeft();
    assert.equal(await askVersion(service.url, await service.headers()), "v1");
  });
});
