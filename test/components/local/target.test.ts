import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { localTarget } from "../../../components/local";
import type { PlacedVersion, RolloutRecord } from "../../../components/record";
import { Service } from "../../../components/service";
import type { TargetSettings } from "../../../components/target";
import { placing, running, v1, version } from "../builders";
import {
  addressOf,
  assertAccepted,
  type MockedStack,
  named,
  type Registered,
  registering,
  tools,
  useTools,
} from "../mockedEngine";

const settings: TargetSettings = {
  service: "sample-service",
  startupTimeoutSeconds: 601,
  drainTimeoutSeconds: 61,
  idleTimeoutSeconds: 31,
  secret: false,
};

const files = { source: "/project/code", digest: "a".repeat(64), excludes: ["*.md"] };

describe("the local target", () => {
  useTools();

  const declared = async (
    primary: Partial<PlacedVersion>,
    own: Partial<TargetSettings> = {},
    stack: MockedStack = {},
  ): Promise<Registered[]> => {
    const placement = placing({}, { ...v1, ...primary }, undefined);
    const declare = () => new Service("sample-service", { target: localTarget({ ...settings, ...own }), placement });
    const { resources } = await registering(stack, declare);
    assertAccepted(resources);
    return resources;
  };
  const cluster = (resources: Registered[]) => named(resources, "cluster-v1", "rayserve:local:Cluster").inputs;
  const balancer = (resources: Registered[]) => named(resources, "load-balancer", "rayserve:local:LoadBalancer").inputs;
  const compute = (config: Record<string, unknown>) => ({ spec: version("v1", { compute_config: config }).spec });

  describe("a cluster", () => {
    it("has the tools of this host and a name that Ray shows", async () => {
      const inputs = cluster(await declared({}));
      assert.deepEqual(
        [inputs.python, inputs.clusterName, inputs.idleTimeoutSeconds],
        [tools.python, "sample-service-v1", 31],
      );
    });

    it("has this host's CPUs on the head when there are no workers", async () => {
      const inputs = cluster(await declared({}));
      assert.deepEqual([inputs.head, inputs.workers], [{ cpus: availableParallelism(), gpus: 0 }, []]);
    });

    it("runs no replicas on the head beside workers, unless its resources are given", async () => {
      const workers = [{ name: "gpu", instance_type: "g5.xlarge", max_nodes: 3 }];
      const beside = cluster(
        await declared(compute({ head_node: { instance_type: "m5.2xlarge" }, worker_nodes: workers })),
      );
      assert.deepEqual(beside.head, { cpus: 0, gpus: 0 });
      const given = cluster(
        await declared(compute({ head_node: { resources: { CPU: 2, x: 1 } }, worker_nodes: workers })),
      );
      assert.deepEqual(given.head, { cpus: 2, gpus: 0, resources: { x: 1 } });
    });

    it("has the worker groups with the logical resources of their instance types", async () => {
      const workers = [
        { name: "gpu", instance_type: "g5.xlarge", min_nodes: 0, max_nodes: 3 },
        { resources: { CPU: 1, GPU: 2, special: 1 }, instance_type: "own", min_nodes: 1, max_nodes: 2 },
      ];
      assert.deepEqual(cluster(await declared(compute({ worker_nodes: workers }))).workers, [
        { name: "gpu", cpus: 4, gpus: 1, minNodes: 0, maxNodes: 3 },
        { name: "own", cpus: 1, gpus: 2, resources: { special: 1 }, minNodes: 1, maxNodes: 2 },
      ]);
    });

    it("is found in the same folder by the next update, and in another one by other stacks and versions", async () => {
      const directory = async (stack: MockedStack, primary: Partial<PlacedVersion> = {}) => {
        const resources = await declared(primary, {}, stack);
        return resources.find(({ type }) => type === "rayserve:local:Cluster")!.inputs.directory;
      };
      const first = await directory({});
      assert.equal(await directory({}), first);
      const others = [
        await directory({ stack: "prod" }),
        await directory({ project: "other" }),
        await directory({}, { name: "v9" }),
      ];
      assert.equal(new Set([first, ...others]).size, 4);
    });
  });

  describe("a working directory", () => {
    it("is packaged by its content into the home folder, and given to the applications", async () => {
      const resources = await declared({ workingDirectory: files });
      const name = "package-aaaaaaaa";
      assert.deepEqual(named(resources, name).inputs, { ...files, store: `${tools.home}/packages/rayshift-dev` });
      const config = named(resources, "applications-v1").inputs.config as {
        applications: Array<{ runtime_env: object }>;
      };
      assert.deepEqual(config.applications[0]!.runtime_env, {
        working_dir: `file:///packages/${name}.zip`,
        env_vars: { VERSION: "v1" },
      });
    });

    it("is packaged once for all versions that have it", async () => {
      const before: RolloutRecord = { ...running, primary: { ...running.primary, workingDirectory: files } };
      const placement = placing({ canaryPercent: 10 }, { ...version("v2"), workingDirectory: files }, before);
      const declare = () => new Service("sample-service", { target: localTarget(settings), placement });
      const { resources } = await registering({}, declare);
      const folders = ["v1", "v2"].map((name) => {
        const config = named(resources, `applications-${name}`).inputs.config as {
          applications: Array<{ runtime_env: { working_dir: string } }>;
        };
        return config.applications[0]!.runtime_env.working_dir;
      });
      assert.equal(resources.filter(({ type }) => type === "rayserve:local:Package").length, 1);
      assert.equal(new Set(folders).size, 1);
    });

    it("that is remote is left to Ray", async () => {
      const spec = version("v1", { working_dir: "s3://bucket/code.zip" }).spec;
      const resources = await declared({ spec });
      const config = named(resources, "applications-v1", "rayserve:serve:Applications").inputs.config as {
        applications: Array<{ runtime_env: { working_dir: string } }>;
      };
      assert.equal(config.applications[0]?.runtime_env.working_dir, "s3://bucket/code.zip");
      assert.ok(!resources.some(({ type }) => type === "rayserve:local:Package"));
    });

    it("has no package when there is none", async () => {
      const resources = await declared({});
      assert.deepEqual(
        resources.filter(({ type }) => type === "rayserve:local:Package"),
        [],
      );
    });
  });

  describe("applications", () => {
    it("are those of the version, on the addresses of its cluster", async () => {
      const { inputs } = named(await declared({}), "applications-v1");
      const { serveAddress, ...dashboard } = addressOf("cluster-v1");
      assert.deepEqual({ dashboardUrl: inputs.dashboardUrl, dashboardTokenFile: inputs.dashboardTokenFile }, dashboard);
      const config = inputs.config as {
        http_options: { host: string; port: number };
        grpc_options: object;
        applications: Array<{ args: object }>;
      };
      const [host, port] = serveAddress.split(":");
      assert.deepEqual([config.http_options.host, config.http_options.port], [host, Number(port)]);
      assert.deepEqual(config.grpc_options, { port: 9000 });
      assert.deepEqual(config.applications[0]!.args, { name: "v1" });
      assert.equal(inputs.timeoutSeconds, 601);
    });

    it("keep a config that is a secret of the stack secret", async () => {
      assert.deepEqual(named(await declared({}), "applications-v1").secrets, []);
      assert.deepEqual(named(await declared({}, { secret: true }), "applications-v1").secrets, ["config"]);
    });

    it("keep a route of null: an application without one", async () => {
      const spec = version("v1", { applications: [{ import_path: "app:app", route_prefix: null }] }).spec;
      const { inputs } = named(await declared({ spec }), "applications-v1");
      assert.equal(
        (inputs.config as { applications: Array<{ route_prefix: unknown }> }).applications[0]!.route_prefix,
        null,
      );
    });
  });

  describe("the load balancer", () => {
    it("has the tools of this host, the drain time, and a port only where one is asked for", async () => {
      const inputs = balancer(await declared({}));
      assert.deepEqual([inputs.haproxy, inputs.drainTimeoutSeconds, inputs.port], [tools.haproxy, 61, undefined]);
      assert.equal(balancer(await declared({}, { port: 8080 })).port, 8080);
    });

    it("is another resource than every cluster, and stays where it is from version to version", async () => {
      const first = balancer(await declared({}));
      assert.notEqual(first.directory, cluster(await declared({})).directory);
      assert.equal(balancer(await declared({ name: "v9" })).directory, first.directory);
    });

    it("knows a version that came by an in-place update by its cluster, as the traffic guard does", async () => {
      const inPlace: RolloutRecord = { ...running, primary: { ...running.primary, name: "v2", cluster: "v1" } };
      const placement = placing({ canaryPercent: 10 }, version("v3"), inPlace);
      const { resources } = await registering(
        {},
        () => new Service("sample-service", { target: localTarget(settings), placement }),
      );
      assert.deepEqual([balancer(resources).primary, balancer(resources).canary], ["v1", "v3"]);
      assert.equal((named(resources, "applications-v1").inputs.traffic as { version: string }).version, "v1");
      assertAccepted(resources);
    });
  });
});
