import assert from "node:assert/strict";
import { serveConfig } from "../../components/serveConfig";
import { spec } from "./builders";

const listen = { serveAddress: "127.0.0.1:8123", grpcPort: 9123 };

function application(changes: Record<string, unknown>, workingDirectory?: string) {
  return serveConfig(spec(changes), listen, workingDirectory).applications[0]!;
}

describe("serveConfig", () => {
  it("listens where the cluster says, beside the spec's own options", () => {
    const config = serveConfig(
      spec({ http_options: { request_timeout_s: 5 }, grpc_options: { grpc_servicer_functions: ["a.b"] } }),
      listen,
      undefined,
    );
    const { keep_alive_timeout_s: _, ...options } = config.http_options ?? {};
    assert.deepEqual(options, { host: "127.0.0.1", port: 8123, request_timeout_s: 5 });
    assert.deepEqual(config.grpc_options, { port: 9123, grpc_servicer_functions: ["a.b"] });
  });

  it("keeps idle connections longer than any load balancer does, unless the spec says for how long", () => {
    const keepAlive = (options: object) =>
      serveConfig(spec({ http_options: options }), listen, undefined).http_options?.keep_alive_timeout_s;
    assert.ok(Number(keepAlive({})) > 3600);
    assert.equal(keepAlive({ keep_alive_timeout_s: 30 }), 30);
  });

  it("has one proxy, on the head", () => {
    assert.equal(serveConfig(spec({ proxy_location: "EveryNode" }), listen, undefined).proxy_location, "HeadOnly");
  });

  it("has nothing of the spec that is not Ray's", () => {
    const config = serveConfig(
      spec({ version_name: "v1", tags: { a: "b" }, ray_version: "2.60.0", env_vars: { A: "1" } }),
      listen,
      undefined,
    );
    assert.deepEqual(Object.keys(config).sort(), ["applications", "grpc_options", "http_options", "proxy_location"]);
  });

  it("leaves the runtime environment out where there is nothing to set", () => {
    assert.equal("runtime_env" in application({}), false);
  });

  it("gives every application the package, requirements, modules and environment of the service", () => {
    const config = serveConfig(
      spec({
        applications: [
          { name: "a", import_path: "a:app", route_prefix: "/a" },
          { name: "b", import_path: "b:app", route_prefix: "/b" },
        ],
        working_dir: "./code",
        requirements: ["numpy==2.1.0"],
        py_modules: ["s3://bucket/module.zip"],
        env_vars: { A: "1" },
      }),
      listen,
      "file:///packages/code.zip",
    );
    const runtimeEnvironment = {
      working_dir: "file:///packages/code.zip",
      pip: ["numpy==2.1.0"],
      py_modules: ["s3://bucket/module.zip"],
      env_vars: { A: "1" },
    };
    assert.deepEqual(
      config.applications.map(({ name, runtime_env }) => [name, runtime_env]),
      [
        ["a", runtimeEnvironment],
        ["b", runtimeEnvironment],
      ],
    );
  });

  it("lets an application's own values win, variable by variable in the environment", () => {
    const { runtime_env } = application(
      {
        applications: [
          {
            import_path: "app:app",
            runtime_env: { working_dir: "s3://bucket/own.zip", pip: ["own"], env_vars: { B: "own", C: "own" } },
          },
        ],
        requirements: ["shared"],
        env_vars: { A: "shared", B: "shared" },
      },
      "file:///packages/code.zip",
    );
    assert.deepEqual(runtime_env, {
      working_dir: "s3://bucket/own.zip",
      pip: ["own"],
      env_vars: { A: "shared", B: "own", C: "own" },
    });
  });

  it("passes deployments, arguments, routes and Ray's own keys on untouched", () => {
    const own = {
      name: "a",
      import_path: "app:app",
      route_prefix: null,
      args: { model: "m", nothing: null },
      deployments: [
        {
          name: "D",
          autoscaling_config: { min_replicas: 0, initial_replicas: 4, max_replicas: 8 },
          user_config: { a: [1] },
        },
      ],
    };
    assert.deepEqual(application({ applications: [own] }), own);
  });

  it("passes the service's logging on", () => {
    const logging = { encoding: "JSON" };
    assert.deepEqual(serveConfig(spec({ logging_config: logging }), listen, undefined).logging_config, logging);
  });
});
