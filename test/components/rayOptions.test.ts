import assert from "node:assert/strict";
import { parseServiceSpec } from "../../components/serviceSpec";
import { application, onlyProblem, problemsOf, service, withDeployment } from "./specForTests";

describe("The applications of a service", () => {
  for (const [value, key, known] of [
    [withDeployment({ num_replica: 2 }), "applications[0].deployments[0].num_replica", "num_replicas"],
    [
      withDeployment({ autoscaling_config: { max_replica: 2 } }),
      "applications[0].deployments[0].autoscaling_config.max_replica",
      "max_replicas",
    ],
  ] as const) {
    it(`with an unknown key name the nearest known one for ${key}`, () => {
      const problem = problemsOf(value).find(({ path }) => path === key);
      assert.equal(problem?.remedy, `did you mean \`${known}\`?`);
      assert.match(problem.rule, /^unknown key `/);
    });
  }

  it("may have keys of Ray's that rayshift does not know: they are passed on, and reported", () => {
    const { spec, notices } = parseServiceSpec(withDeployment({ something_of_next_year: 1 }));
    assert.equal(spec.applications[0]!.deployments[0]!.something_of_next_year, 1);
    assert.match(
      notices.join(),
      /applications\[0\]\.deployments\[0\]\.something_of_next_year is not known to rayshift/,
    );
  });

  for (const [title, value, expected] of [
    ["a replica count of 0", withDeployment({ num_replicas: 0 }), /num_replicas: 0 must be .*1 or more, or "auto"/],
    ["a replica count as text", withDeployment({ num_replicas: "many" }), /num_replicas: "many" must be/],
    [
      "a replica count beside autoscaling",
      withDeployment({ num_replicas: 2, autoscaling_config: { max_replicas: 3 } }),
      /num_replicas: 2 cannot be a number beside `autoscaling_config`/,
    ],
    [
      "more min_replicas than max_replicas",
      withDeployment({ autoscaling_config: { min_replicas: 3, max_replicas: 2 } }),
      /min_replicas: 3 is more than max_replicas, which is 2/,
    ],
    [
      "more min_replicas than Ray's default of max_replicas",
      withDeployment({ autoscaling_config: { min_replicas: 2 } }),
      /min_replicas: 2 is more than max_replicas, which is 1/,
    ],
    [
      "initial_replicas outside of the bounds",
      withDeployment({ autoscaling_config: { min_replicas: 1, max_replicas: 4, initial_replicas: 5 } }),
      /initial_replicas: 5 is outside of min_replicas..max_replicas, which is 1..4/,
    ],
    ["an import path without an attribute", service({ applications: [{ import_path: "app" }] }), /"module:attribute"/],
    [
      "an import path that is a file",
      service({ applications: [{ import_path: "src/app.py:app" }] }),
      /"module:attribute"/,
    ],
    ["no import path", service({ applications: [{}] }), /import_path: is missing/],
    [
      "a route prefix without a slash",
      service({ applications: [{ ...application, route_prefix: "chat" }] }),
      /route_prefix: "chat" must start with "\/"/,
    ],
    [
      "two deployments of one name",
      service({ applications: [{ ...application, deployments: [{ name: "A" }, { name: "A" }] }] }),
      /deployments\[1\]\.name: "A" is the same as that of deployments\[0\]/,
    ],
    [
      "a host of its own",
      service({ http_options: { host: "0.0.0.0" } }),
      /http_options\.host: "0.0.0.0" cannot be set/,
    ],
    ["a port of its own", service({ http_options: { port: 80 } }), /http_options\.port: 80 cannot be set/],
    [
      "a root path of its own",
      service({ http_options: { root_path: "/x" } }),
      /http_options\.root_path: "\/x" cannot be set/,
    ],
    ["a gRPC port of its own", service({ grpc_options: { port: 9000 } }), /grpc_options\.port: 9000 cannot be set/],
    [
      "a local folder where Ray takes URIs only",
      service({ applications: [{ ...application, runtime_env: { working_dir: "./src" } }] }),
      /runtime_env\.working_dir: must be a remote URI.*service's `working_dir`/,
    ],
  ] as const) {
    it(`are refused with ${title}`, () => assert.match(onlyProblem(value), expected));
  }
});
