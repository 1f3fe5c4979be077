import assert from "node:assert/strict";
import { hasTokens, rayService, rayVersionOf } from "../../../components/kubernetes/rayService";
import { spec } from "../builders";
import { settings } from "./settingsForTests";

const gpu = { name: "gpu", instance_type: "g5.xlarge", min_nodes: 0, max_nodes: 8 };

function manifest(of: Record<string, unknown> = {}, own: Record<string, unknown> = {}, idleTimeoutSeconds = 60) {
  return rayService({
    name: "sample-service-v1",
    stack: "rayshift/dev",
    spec: spec(of),
    settings: settings(own),
    idleTimeoutSeconds,
  });
}

// biome-ignore lint/suspicious/noExplicitAny: a manifest is looked at by paths.
const clusterOf = (...args: Parameters<typeof manifest>): any => manifest(...args).spec.rayClusterConfig;
const container = (group: { template: { spec: { containers: unknown[] } } }) =>
  // biome-ignore lint/suspicious/noExplicitAny: the same.
  group.template.spec.containers[0] as any;

describe("a version's RayService", () => {
  it("never has its cluster replaced by KubeRay, and leaves the applications and the replicas to others", () => {
    const made = manifest({ compute_config: { worker_nodes: [gpu] } });
    assert.deepEqual(made.spec.upgradeStrategy, { type: "None" });
    assert.equal("serveConfigV2" in made.spec, false);
    const [worker] = clusterOf({ compute_config: { worker_nodes: [gpu] } }).workerGroupSpecs;
    assert.equal("replicas" in worker, false);
  });

  it("scales its worker groups from none by autoscaler v2, after the idle time in whole seconds", () => {
    const cluster = clusterOf({ compute_config: { worker_nodes: [gpu] } }, {}, 2.5);
    assert.equal(cluster.enableInTreeAutoscaling, true);
    assert.equal(cluster.autoscalerOptions.version, "v2");
    assert.equal(cluster.autoscalerOptions.idleTimeoutSeconds, 3);
    const [worker] = cluster.workerGroupSpecs;
    assert.deepEqual([worker.minReplicas, worker.maxReplicas, worker.idleTimeoutSeconds], [0, 8, 3]);
  });

  it("has Ray's autoscaler ask for what the settings say, and leaves it to KubeRay where they say nothing", () => {
    assert.equal("resources" in clusterOf().autoscalerOptions, false);
    const { resources } = clusterOf({}, { autoscalerResources: { cpu: 0.2 } }).autoscalerOptions;
    assert.deepEqual(resources, { requests: { cpu: "0.2", memory: "512Mi" }, limits: { memory: "512Mi" } });
  });

  it("asks for the GPUs of an instance type, and for less than its CPUs and memory, so that the pod fits the machine", () => {
    const [worker] = clusterOf({ compute_config: { worker_nodes: [gpu] } }).workerGroupSpecs;
    assert.deepEqual(container(worker).resources, {
      requests: { cpu: "3400m", memory: "13107Mi", "nvidia.com/gpu": "1" },
      limits: { memory: "13107Mi", "nvidia.com/gpu": "1" },
    });
    assert.deepEqual(worker.template.spec.nodeSelector, { "node.kubernetes.io/instance-type": "g5.xlarge" });
  });

  it("has head and workers ask for the token where the gateway cannot, beside what the image imports from", () => {
    const other = { gateway: { implementation: "other" } };
    const { headGroupSpec, workerGroupSpecs } = clusterOf({ compute_config: { worker_nodes: [gpu] } }, other);
    for (const group of [headGroupSpec, workerGroupSpecs[0]]) {
      const { command, env, volumeMounts } = container(group);
      const { volumes } = group.template.spec;
      assert.deepEqual(
        volumeMounts.map(({ name }: { name: string }) => name),
        volumes.map(({ name }: { name: string }) => name),
      );
      const [code, tokens] = volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath);
      assert.deepEqual(command, [`export PYTHONPATH="${code}:$PYTHONPATH"`]);
      assert.deepEqual(env, [
        { name: "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", value: "rayshift_ingress.middlewares" },
        { name: "RAYSHIFT_QUERY_TOKENS", value: `${tokens}/token` },
      ]);
      assert.deepEqual(volumes[1].secret.items, [{ key: "token", path: "token" }]);
    }
    const open = clusterOf({ query_auth_token_enabled: false }, other);
    assert.equal("env" in container(open.headGroupSpec), false);
  });

  it("lets a head end within seconds, which would else use up what Kubernetes gives a pod, and workers take that", () => {
    const { headGroupSpec, workerGroupSpecs } = clusterOf({ compute_config: { worker_nodes: [gpu] } });
    assert.equal(headGroupSpec.template.spec.terminationGracePeriodSeconds, 10);
    assert.equal("terminationGracePeriodSeconds" in workerGroupSpecs[0].template.spec, false);
  });

  it("tells Ray of the whole machine, with the kind of its GPU in the quotes that Ray takes off", () => {
    const [worker] = clusterOf({ compute_config: { worker_nodes: [gpu] } }).workerGroupSpecs;
    const { resources, ...rest } = worker.rayStartParams;
    assert.deepEqual(rest, { "num-cpus": "4", "num-gpus": "1" });
    assert.deepEqual(JSON.parse(resources.slice(1, -1).replaceAll("\\", "")), { "accelerator_type:A10G": 1 });
  });

  it("asks for explicit resources exactly, on any machine", () => {
    const group = { name: "cpu", resources: { CPU: 2, memory: 2 ** 31, licence: 1 } };
    const [worker] = clusterOf({ compute_config: { worker_nodes: [group] } }).workerGroupSpecs;
    assert.deepEqual(container(worker).resources, {
      requests: { cpu: "2000m", memory: "2048Mi" },
      limits: { memory: "2048Mi" },
    });
    assert.equal("nodeSelector" in worker.template.spec, false);
    assert.deepEqual(JSON.parse(worker.rayStartParams.resources.slice(1, -1).replaceAll("\\", "")), { licence: 1 });
  });

  it("asks for a part of a processor, and tells Ray of whole ones", () => {
    const group = { name: "shared", resources: { CPU: 0.5, GPU: 1 } };
    const [worker] = clusterOf({ compute_config: { worker_nodes: [group] } }).workerGroupSpecs;
    assert.equal(container(worker).resources.requests.cpu, "500m");
    assert.deepEqual(worker.rayStartParams, { "num-cpus": "0", "num-gpus": "1" });
  });

  it("asks for a little where Ray is to count no processor, or what runs there would starve", () => {
    const group = { name: "gpu", resources: { CPU: 0, GPU: 1 } };
    const [worker] = clusterOf({ compute_config: { worker_nodes: [group] } }).workerGroupSpecs;
    assert.equal(container(worker).resources.requests.cpu, "100m");
    assert.equal(worker.rayStartParams["num-cpus"], "0");
  });

  it("runs no replica on the head beside worker groups, and some on a head that is alone", () => {
    const beside = clusterOf({
      compute_config: { head_node: { instance_type: "g5.xlarge" }, worker_nodes: [gpu] },
    });
    assert.equal(beside.headGroupSpec.rayStartParams["num-cpus"], "0");
    assert.equal("num-gpus" in beside.headGroupSpec.rayStartParams, false);
    const alone = clusterOf({ compute_config: { head_node: { resources: { CPU: 3 } } } });
    assert.equal(alone.headGroupSpec.rayStartParams["num-cpus"], "3");
  });

  it("has the ports that KubeRay looks for by name", () => {
    const names = container(clusterOf().headGroupSpec).ports.map(({ name }: { name: string }) => name);
    for (const name of ["gcs-server", "dashboard", "client", "serve"]) assert.ok(names.includes(name), name);
  });

  it("tolerates the taint of GPU nodes where it asks for GPUs, and what the settings say everywhere", () => {
    const own = { tolerations: [{ key: "team", operator: "Exists" }], nodeSelector: { pool: "ray" } };
    const cluster = clusterOf({ compute_config: { worker_nodes: [gpu] } }, own);
    const keys = (group: { template: { spec: { tolerations: Array<{ key: string }> } } }) =>
      group.template.spec.tolerations.map(({ key }) => key);
    assert.deepEqual(keys(cluster.headGroupSpec), ["team"]);
    assert.deepEqual(keys(cluster.workerGroupSpecs[0]), ["team", "nvidia.com/gpu"]);
    assert.deepEqual(cluster.headGroupSpec.template.spec.nodeSelector, { pool: "ray" });
  });

  it("runs the version's own image, else that of the settings, with every Secret to pull it", () => {
    assert.equal(container(clusterOf().headGroupSpec).image, "example.com/ray:2.52.1-gpu");
    const own = { image_uri: "example.com/mine:1", registry_login_secret: "login" };
    const cluster = clusterOf(own, { imagePullSecrets: ["shared", "login"] });
    assert.equal(container(cluster.headGroupSpec).image, "example.com/mine:1");
    assert.deepEqual(cluster.headGroupSpec.template.spec.imagePullSecrets, [{ name: "shared" }, { name: "login" }]);
  });

  it("gives the dashboard a token where KubeRay can", () => {
    assert.deepEqual(clusterOf().authOptions, { mode: "token" });
    assert.equal(clusterOf({ ray_version: "2.51.0" }).authOptions, undefined);
    assert.equal(clusterOf({ image_uri: "example.com/mine:latest" }).authOptions, undefined);
    assert.deepEqual(["2.52.0", "2.60.0", "3.0.0", "2.9.3", undefined].map(hasTokens), [
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  it("knows Ray's version by the spec, else by the image's tag", () => {
    assert.equal(rayVersionOf(spec({ ray_version: "2.53.0" }), settings()), "2.53.0");
    assert.equal(rayVersionOf(spec(), { image: "rayproject/ray:2.52.1-py311-gpu" }), "2.52.1");
    assert.equal(rayVersionOf(spec(), { image: "host:5000/ray:1.2.3.4" }), undefined);
  });

  it("keeps the head's state in a Redis: the version's, else that of the settings, and none where the version says so", () => {
    const redis = { address: "redis:6379", passwordSecret: { name: "redis", key: "password" } };
    assert.deepEqual(clusterOf({}, { redis }).gcsFaultToleranceOptions, {
      redisAddress: "redis:6379",
      redisPassword: { valueFrom: { secretKeyRef: { name: "redis", key: "password" } } },
    });
    const own = { ray_gcs_external_storage_config: { address: "mine:6379" } };
    assert.deepEqual(clusterOf(own).gcsFaultToleranceOptions, { redisAddress: "mine:6379" });
    const off = { ray_gcs_external_storage_config: { enabled: false } };
    assert.equal(clusterOf(off, { redis }).gcsFaultToleranceOptions, undefined);
  });

  it("marks the RayService and all pods as the service's and the cluster's", () => {
    const made = manifest({ compute_config: { worker_nodes: [gpu] } });
    const { headGroupSpec, workerGroupSpecs } = clusterOf({ compute_config: { worker_nodes: [gpu] } });
    for (const { metadata } of [made, headGroupSpec.template, workerGroupSpecs[0].template]) {
      assert.equal(metadata.labels["rayshift.io/service"], "sample-service");
      assert.equal(metadata.labels["rayshift.io/cluster"], "sample-service-v1");
    }
  });
});
