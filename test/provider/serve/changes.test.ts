import assert from "node:assert/strict";
import { classify } from "../../../provider/serve/changes";
import type { ApplicationConfig, DeploymentConfig, ServeConfig } from "../../../provider/serve/config";
import { converge } from "../../../provider/serve/converge";
import { getApplications, putApplications } from "../../../provider/serve/dashboard";
import { assertReadyFor } from "../../../provider/serve/readiness";
import { type TestRay, testRay } from "./rayForTests";

const config = (deployments: DeploymentConfig[], application: Partial<ApplicationConfig> = {}): ServeConfig => ({
  applications: [{ name: "a", import_path: "m:app", deployments, ...application }],
});

const kinds = (before: ServeConfig, after: ServeConfig) =>
  classify(before, after).map(({ application, deployment, kind }) => `${application}/${deployment} ${kind}`);

describe("A change of the Serve config", () => {
  const lightweight: Record<string, [unknown, unknown]> = {
    num_replicas: [3, 5],
    user_config: [{ a: 1 }, { a: 2 }],
    max_ongoing_requests: [5, 10],
    max_queued_requests: [undefined, 100],
    graceful_shutdown_timeout_s: [20, 30],
    graceful_shutdown_wait_loop_s: [2, 1],
    health_check_period_s: [10, 5],
    health_check_timeout_s: [30, 5],
    logging_config: [undefined, { log_level: "DEBUG" }],
    max_surge_percent: [0, 50],
    autoscaling_config: [
      { min_replicas: 1, max_replicas: 4 },
      { min_replicas: 2, max_replicas: 4 },
    ],
  };
  for (const [option, [before, after]] of Object.entries(lightweight)) {
    it(`in ${option} is lightweight`, () => {
      const changed = classify(config([{ name: "D", [option]: before }]), config([{ name: "D", [option]: after }]));
      const [{ kind, reason } = assert.fail("one change")] = changed;
      assert.deepEqual([changed.length, kind, reason], [1, "lightweight", `${option} changes`]);
    });
  }

  const heavyweight: Record<string, [unknown, unknown]> = {
    ray_actor_options: [{ num_cpus: 1 }, { num_cpus: 2 }],
    max_replicas_per_node: [undefined, 1],
    placement_group_bundles: [undefined, [{ CPU: 1 }]],
    placement_group_strategy: ["PACK", "SPREAD"],
    gang_scheduling_config: [undefined, { gang_size: 2 }],
    an_option_of_a_later_ray: [1, 2],
  };
  for (const [option, [before, after]] of Object.entries(heavyweight)) {
    it(`in ${option} is heavyweight for that deployment and no other`, () => {
      const others = { name: "E", num_replicas: 1 };
      const changed = kinds(
        config([{ name: "D", [option]: before }, others]),
        config([{ name: "D", [option]: after }, others]),
      );
      assert.deepEqual(changed, ["a/D heavyweight", "a/E none"]);
    });
  }

  const rebuilding: Record<string, [ServeConfig, ServeConfig]> = {
    import_path: [config([]), config([], { import_path: "m:other" })],
    runtime_env: [config([]), config([], { runtime_env: { env_vars: { A: "1" } } })],
    args: [config([], { args: { model: "a" } }), config([], { args: { model: "b" } })],
    "num_replicas to autoscaling_config": [
      config([{ name: "D", num_replicas: 2 }]),
      config([{ name: "D", autoscaling_config: { min_replicas: 2 } }]),
    ],
    "num_replicas to auto": [config([{ name: "D", num_replicas: 2 }]), config([{ name: "D", num_replicas: "auto" }])],
    "the autoscaling policy": [
      config([{ name: "D", autoscaling_config: { policy: { policy_function: "m:a" } } }]),
      config([{ name: "D", autoscaling_config: { policy: { policy_function: "m:b" } } }]),
    ],
    request_router_config: [config([{ name: "D" }]), config([{ name: "D", request_router_config: { x: 1 } }])],
    deployment_actors: [config([{ name: "D" }]), config([{ name: "D", deployment_actors: [{ name: "x" }] }])],
  };
  for (const [option, [before, after]] of Object.entries(rebuilding)) {
    it(`in ${option} is heavyweight for every deployment of the application`, () => {
      assert.deepEqual(kinds(before, after), ["a/* heavyweight"]);
    });
  }

  it("that adds or removes an application says so", () => {
    const one = config([]);
    const two: ServeConfig = { applications: [...one.applications, { name: "b", import_path: "m:app" }] };
    assert.deepEqual(kinds(one, two), ["b/* added"]);
    assert.deepEqual(kinds(two, one), ["b/* removed"]);
  });

  it("in the order of keys, in what is unset, or in Serve's ports touches no replica", () => {
    const before = config([{ name: "D", user_config: { a: 1, b: 2 }, max_ongoing_requests: undefined }]);
    const after = { ...config([{ user_config: { b: 2, a: 1 }, name: "D" }]), http_options: { port: 8001 } };
    assert.deepEqual(kinds(before, after), ["*/* none", "a/D none"]);
  });

  it("in route_prefix is lightweight", () => {
    assert.deepEqual(kinds(config([]), config([], { route_prefix: "/v2" })), ["a/* lightweight"]);
  });

  describe("on a real Ray", function () {
    this.timeout(150_000);
    let ray: TestRay;
    const both = (deployments: DeploymentConfig[], rest: Partial<ApplicationConfig> = {}) =>
      ray.config({ name: "a", import_path: "sample:both", deployments, ...rest });
    const model = (options: Partial<DeploymentConfig> = {}): DeploymentConfig[] => [
      { name: "Front", num_replicas: 1 },
      { name: "Model", num_replicas: 1, ...options },
    ];
    const put = async (wanted: ServeConfig) => {
      await putApplications(ray, { ...wanted, target_capacity: null });
      const wait = { timeoutSeconds: 90, signal: new AbortController().signal, progress: () => {} };
      const { applications } = await converge(ray, { capacity: null, applications: ["a"] }, wait);
      const ids = (name: string) => applications.a?.deployments[name]?.replicaIds.join();
      return { Front: ids("Front"), Model: ids("Model") };
    };
    const replaced = async (before: ServeConfig, after: ServeConfig) => {
      const was = await put(before);
      const is = await put(after);
      return (["Front", "Model"] as const).filter((name) => was[name] !== is[name]);
    };
    before(async () => {
      ray = await testRay();
    });

    it("keeps all replicas when it is lightweight", async () => {
      const light = { user_config: { a: 1 }, max_ongoing_requests: 7, graceful_shutdown_timeout_s: 3 };
      assert.deepEqual(await replaced(both(model()), both(model(light))), []);
    });

    it("replaces the replicas of the deployment when it is heavyweight", async () => {
      const heavy = both(model({ ray_actor_options: { num_cpus: 0.2 } }));
      assert.deepEqual(await replaced(both(model()), heavy), ["Model"]);
    });

    it("replaces all replicas of the application when it is built anew", async () => {
      const scaling = { num_replicas: null, autoscaling_config: { min_replicas: 1, max_replicas: 2 } };
      const changed = await replaced(both(model()), both(model(scaling)));
      assert.deepEqual(changed, ["Front", "Model"]);
    });

    it("leaves a cluster ready for as much traffic as its replicas and its capacity can take", async () => {
      await put(both([{ name: "Front", num_replicas: 1 }]));
      await assertReadyFor(ray, 100);
      await putApplications(ray, { ...both([{ name: "Front", num_replicas: 1 }]), target_capacity: 50 });
      await assert.rejects(assertReadyFor(ray, 60), /cannot take 60% of the traffic: its capacity is 50%/);
      await assertReadyFor({ dashboardUrl: "http://127.0.0.1:1" }, 0);
      const { applications } = await getApplications(ray);
      assert.ok(applications.a);
    });
  });
});
