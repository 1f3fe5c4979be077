import assert from "node:assert/strict";
import { parse } from "yaml";
import { InvalidInput } from "../../components/problems";
import { checkWorkerNodes, parseServiceSpec } from "../../components/serviceSpec";
import { application, onlyProblem, problemsOf, service } from "./specForTests";

const anyscaleYaml = `
name: my-service
image_uri: anyscale/ray:2.60.0-slim-py311
registry_login_secret: my-registry
ray_version: 2.60.0
compute_config:
  cloud: anyscale-prod
  head_node:
    instance_type: m5.2xlarge
    resources: {CPU: 0}
  worker_nodes:
  - instance_type: g5.xlarge
    min_nodes: 0
    max_nodes: 8
    market_type: PREFER_SPOT
  - name: cpu_workers
    instance_type: m5.4xlarge
  enable_cross_zone_scaling: true
working_dir: .
excludes: [.env, "*.ipynb"]
requirements:
- emoji==1.2.0
env_vars:
  MY_ENV_VAR: my_value
cloud: anyscale-prod
project: my-project
query_auth_token_enabled: true
http_options:
  request_timeout_s: 60
  keep_alive_timeout_s: 60
grpc_options:
  grpc_servicer_functions: ["my_module:my_function"]
logging_config: {encoding: JSON, log_level: INFO, enable_access_log: true}
proxy_location: HeadOnly
tracing_config: {enabled: true, exporter_import_path: "my_module:exporter", sampling_ratio: 1.0}
ray_gcs_external_storage_config: {enabled: true, address: "http://redis-address:8888"}
tags: {team: serving}
applications:
- name: chat
  route_prefix: /chat
  import_path: serving.chat:app
  args: {model: small}
  runtime_env: {env_vars: {MODEL: small}}
  deployments:
  - name: Model
    max_ongoing_requests: 10
    autoscaling_config: {min_replicas: 1, initial_replicas: 2, max_replicas: 8, target_ongoing_requests: 5, upscale_delay_s: 10}
    ray_actor_options: {num_gpus: 1, accelerator_type: A10G}
  - name: Router
    num_replicas: auto
    autoscaling_config: {min_replicas: 2}
  - name: Ingress
    num_replicas: 3
    user_config: {threshold: 0.5, unset: null}
- name: background
  route_prefix: null
  import_path: serving.background:app
`;

describe("parseServiceSpec", () => {
  it("takes an Anyscale service YAML unchanged", () => {
    const { spec } = parseServiceSpec(parse(anyscaleYaml));
    assert.equal(spec.name, "my-service");
    assert.deepEqual(
      spec.applications.map(({ name, route_prefix, import_path }) => [name, route_prefix, import_path]),
      [
        ["chat", "/chat", "serving.chat:app"],
        ["background", null, "serving.background:app"],
      ],
    );
    assert.deepEqual(spec.applications[0]!.deployments[2], {
      name: "Ingress",
      num_replicas: 3,
      user_config: { threshold: 0.5, unset: null },
    });
    assert.deepEqual(spec.compute_config, {
      head_node: { instance_type: "m5.2xlarge", resources: { CPU: 0 } },
      worker_nodes: [
        { name: "g5.xlarge", instance_type: "g5.xlarge", min_nodes: 0, max_nodes: 8, market_type: "PREFER_SPOT" },
        { name: "cpu_workers", instance_type: "m5.4xlarge", min_nodes: 0, max_nodes: 10, market_type: "ON_DEMAND" },
      ],
    });
  });

  it("reports the keys that it ignores", () => {
    const { spec, notices } = parseServiceSpec(parse(anyscaleYaml));
    assert.deepEqual(
      notices.map((notice) => notice.split(" ")[0]),
      ["cloud", "project", "compute_config.cloud", "compute_config.enable_cross_zone_scaling"],
    );
    assert.equal("cloud" in spec || "project" in spec, false);
  });

  it("fills in the defaults of a minimal service", () => {
    assert.deepEqual(parseServiceSpec(service()), {
      spec: {
        name: "sample-service",
        applications: [{ name: "default", route_prefix: "/", import_path: "app:app", deployments: [] }],
        query_auth_token_enabled: true,
        compute_config: { worker_nodes: [] },
      },
      notices: [],
    });
  });

  it("takes a key without a value as one that is not there", () => {
    assert.deepEqual(
      parseServiceSpec(service({ requirements: null, compute_config: null })),
      parseServiceSpec(service()),
    );
  });

  it("lists all problems in one error, each with path, value, rule and remedy", () => {
    const bad = service({
      name: "My Service",
      applications: [{ import_path: "app", deployments: [{ name: "Model", num_replicas: 0 }] }],
      proxy_location: "Disabled",
    });
    const problems = problemsOf(bad);
    assert.deepEqual(
      problems.map(({ path, value }) => [path, value]),
      [
        ["name", "My Service"],
        ["applications[0].import_path", "app"],
        ["applications[0].deployments[0].num_replicas", 0],
        ["proxy_location", "Disabled"],
      ],
    );
    const { message } = new InvalidInput(problems, "service");
    assert.match(message, /^invalid service, 4 problems/);
    for (const { path, rule, remedy } of problems) {
      assert.ok(message.includes(path) && message.includes(rule) && message.includes(remedy), message);
    }
  });

  it("reports problems over several keys beside those of single keys", () => {
    const paths = problemsOf({ name: 1, applications: [application, application] }).map(({ path }) => path);
    assert.deepEqual(paths, ["name", "applications[1].name", "applications[1].route_prefix"]);
  });

  for (const [value, key, known] of [
    [service({ applicatoins: [] }), "applicatoins", "applications"],
    [service({ compute_config: { head_nod: {} } }), "compute_config.head_nod", "head_node"],
    [
      service({ compute_config: { worker_nodes: [{ instance_type: "g5.xlarge", mx_nodes: 1 }] } }),
      "compute_config.worker_nodes[0].mx_nodes",
      "max_nodes",
    ],
  ] as const) {
    it(`names the nearest known key for ${key}`, () => {
      const problem = problemsOf(value).find(({ path }) => path === key);
      assert.equal(problem?.remedy, `did you mean \`${known}\`?`);
      assert.match(problem.rule, /^unknown key `/);
    });
  }

  for (const [title, value, expected] of [
    ["no applications", service({ applications: [] }), /applications: must be a list of at least one application/],
    [
      "two applications of one name",
      service({ applications: [application, { ...application, route_prefix: "/b" }] }),
      /applications\[1\]\.name: is the same as that of applications\[0\], "default"/,
    ],
    [
      "two applications at one route prefix",
      service({ applications: [application, { ...application, name: "b" }] }),
      /applications\[1\]\.route_prefix: is the same as that of applications\[0\], "\/"/,
    ],
    [
      "two worker groups of one name",
      service({ compute_config: { worker_nodes: [{ instance_type: "g5.xlarge" }, { instance_type: "g5.xlarge" }] } }),
      /worker_nodes\[1\]\.name: is the same as that of worker_nodes\[0\], "g5.xlarge"/,
    ],
    [
      "more min_nodes than max_nodes",
      service({ compute_config: { worker_nodes: [{ instance_type: "g5.xlarge", min_nodes: 3, max_nodes: 2 }] } }),
      /min_nodes: 3 is more than max_nodes, which is 2/,
    ],
    [
      "the name of a compute config",
      service({ compute_config: "my-config:1" }),
      /"my-config:1" must be an inline compute config.*no registry/,
    ],
    [
      "an instance type that nobody has heard of",
      service({ compute_config: { head_node: { instance_type: "m5.2xlrge" } } }),
      /head_node\.instance_type: "m5.2xlrge" is not .*did you mean `m5.2xlarge`\?/,
    ],
    [
      "limits that would not be kept",
      service({ compute_config: { max_resources: { GPU: 4 } } }),
      /max_resources: is not kept by rayshift; .*`max_nodes`/,
    ],
    ["no proxies", service({ proxy_location: "Disabled" }), /proxy_location: "Disabled" must be EveryNode or HeadOnly/],
    [
      "two images",
      service({ image_uri: "a/b:1", containerfile: "Dockerfile" }),
      /containerfile: .* cannot be given beside `image_uri`/,
    ],
    [
      "a number where text belongs",
      service({ tags: { year: 2026 } }),
      /tags\.year: 2026 must be text; put it in quotes/,
    ],
    [
      "a service name that no resource can have",
      service({ name: "a".repeat(25) }),
      /name: "a+" must be 1 to 24 lower-case/,
    ],
    ["a version name with capitals", service({ version_name: "V2" }), /version_name: "V2" must be 1 to 20 lower-case/],
    [
      "a version name that is a role",
      service({ version_name: "canary" }),
      /version_name: "canary" .*not primary or canary/,
    ],
    ["a version name that YAML takes for a number", service({ version_name: 1.5 }), /version_name: 1.5 .*as text/],
    ["something that is not a mapping", "name: x", /must be a mapping/],
  ] as const) {
    it(`refuses ${title}`, () => assert.match(onlyProblem(value), expected));
  }

  it("shows no value that may be a secret", () => {
    const secret = 90125001;
    const { message } = new InvalidInput(
      problemsOf(service({ env_vars: { TOKEN: secret }, env_var: { TOKEN: secret }, api_token: secret })),
    );
    assert.match(message, /env_vars\.TOKEN/);
    assert.doesNotMatch(message, /90125001/);
  });
});

describe("checkWorkerNodes", () => {
  const spec = (min: number) =>
    parseServiceSpec(
      service({ compute_config: { worker_nodes: [{ name: "gpu", instance_type: "g5.xlarge", min_nodes: min }] } }),
    ).spec;

  it("has nothing against worker groups that scale to zero", () => {
    assert.deepEqual(checkWorkerNodes(spec(0)), { problems: [], notices: [] });
    assert.deepEqual(checkWorkerNodes(spec(0), 50), { problems: [], notices: [] });
  });

  it("says what min_nodes above 0 costs in a rollout without a surge limit", () => {
    const { problems, notices } = checkWorkerNodes(spec(3));
    assert.deepEqual(problems, []);
    assert.match(
      notices.join(),
      /worker_nodes\[0\]\.min_nodes is 3: .*both clusters keep 3 nodes of gpu, .*cannot scale to zero.* 3 nodes more/,
    );
  });

  it("refuses min_nodes above 0 with a surge limit", () => {
    const { problems, notices } = checkWorkerNodes(spec(3), 50);
    assert.deepEqual(notices, []);
    assert.deepEqual(
      problems.map(({ path, value }) => [path, value]),
      [["compute_config.worker_nodes[0].min_nodes", 3]],
    );
    assert.match(problems[0]!.rule, /must be 0 with a max surge of 50%/);
  });
});
