import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { InvalidInput } from "../../../components/problems";
import { parseStackConfig } from "../../../components/stackConfig";
import { root } from "../../setup/support";
import { least } from "./settingsForTests";

const service = {
  name: "sample-service",
  applications: [{ import_path: "app:app" }],
  compute_config: {
    head_node: { instance_type: "n2-standard-4" },
    worker_nodes: [{ name: "gpu", instance_type: "g2-standard-4" }],
  },
};

function config(gcp: unknown = least, changes: Record<string, unknown> = {}, own: Record<string, string> = {}) {
  return {
    target: "gcp",
    service: JSON.stringify({ ...service, ...changes }),
    ...(gcp === undefined ? {} : { gcp: JSON.stringify(gcp) }),
    ...own,
  };
}

function problemsOf(raw: Record<string, string>): string {
  try {
    parseStackConfig(raw);
  } catch (error) {
    assert.ok(InvalidInput.isInstance(error), String(error));
    return error.message;
  }
  return "";
}

const workers = (...groups: object[]) => ({
  compute_config: { head_node: { instance_type: "n2-standard-4" }, worker_nodes: groups },
});

describe("the stack config of the target gcp", () => {
  it("needs a project, a zone, an image, who may see the dashboard, and how requests are encrypted", () => {
    const { gcp } = parseStackConfig(config());
    assert.deepEqual(gcp, {
      ...least,
      cidr: "10.128.0.0/20",
      diskGb: 200,
      loadBalancer: { http: true },
      workerGroups: {},
    });
    for (const key of ["project", "zone", "bootImage", "dashboardCidrs", "loadBalancer"]) {
      assert.match(problemsOf(config({ ...least, [key]: undefined })), new RegExp(`rayshift:gcp\\.${key}: is missing`));
    }
    assert.match(
      problemsOf({ target: "gcp", service: JSON.stringify(service) }),
      /rayshift:gcp: is missing.*docs\/gcp\.md/,
    );
  });

  it("takes the example as it is", () => {
    const example = (name: string) => parse(readFileSync(join(root, "examples", "gcp", name), "utf8"));
    const written = Object.entries(example("Pulumi.gcp.yaml").config as Record<string, unknown>).map(([key, value]) => [
      key.replace("rayshift:", ""),
      typeof value === "object" ? JSON.stringify(value) : String(value),
    ]);
    const { gcp, service: read } = parseStackConfig({
      ...Object.fromEntries(written),
      service: JSON.stringify(example("service.yaml")),
    });
    assert.equal(gcp?.loadBalancer.hostname, "models.example.com");
    assert.deepEqual(
      read.compute_config.worker_nodes.map(({ name }) => name),
      ["l4", "t4"],
    );
  });

  it("serves without encryption only where that is said", () => {
    const certificates = ["projects/my-project/global/sslCertificates/models"];
    const of = (loadBalancer: object) => problemsOf(config({ ...least, loadBalancer }));
    assert.match(of({}), /loadBalancer\.certificates: are missing; .*`http: true`: tokens then go unencrypted/);
    assert.match(of({ certificates }), /loadBalancer\.hostname: is missing/);
    assert.match(of({ certificates, hostname: "models.example.com", http: true }), /loadBalancer\.http: .*beside/);
    assert.equal(of({ certificates, hostname: "models.example.com" }), "");
  });

  it("shows nobody's dashboard to everybody", () => {
    assert.match(problemsOf(config({ ...least, dashboardCidrs: ["0.0.0.0/0"] })), /not everybody's/);
    assert.match(problemsOf(config({ ...least, dashboardCidrs: [] })), /dashboardCidrs: .*at least one block/);
  });

  it("takes a network and its subnetwork together", () => {
    const network = "projects/my-project/global/networks/models";
    assert.match(problemsOf(config({ ...least, network })), /gcp\.subnetwork: is missing: .*go together/);
    assert.match(problemsOf(config({ ...least, network: "models" })), /gcp\.network: .*must be the path of a network/);
  });

  it("names all problems together, with the nearest key of one that is not known", () => {
    const problems = problemsOf(
      config({ ...least, project: "My Project", zone: "us-central1", diskGB: 100 }, { working_dir: "./code" }),
    );
    assert.match(problems, /gcp\.project: "My Project" must be the id of a project/);
    assert.match(problems, /gcp\.zone: "us-central1" must be a zone/);
    assert.match(problems, /unknown key `diskGB`; did you mean `diskGb`/);
    assert.match(
      problemsOf(config(least, { working_dir: "./code" })),
      /working_dir: "\.\/code" is a folder of this machine/,
    );
  });

  it("refuses machines of another cloud, none at all, and ones that nobody knows", () => {
    const of = (...groups: object[]) => problemsOf(config(least, workers(...groups)));
    assert.match(
      of({ instance_type: "g5.xlarge" }),
      /worker_nodes\[0\]\.instance_type: "g5\.xlarge" is no instance type of gcp/,
    );
    assert.match(of({ resources: { CPU: 8 } }), /worker_nodes\[0\]\.instance_type: is missing/);
    assert.match(of({ instance_type: "g2-standard-5" }), /did you mean `g2-standard-\d+`/);
    assert.equal(of({ instance_type: "m9-special-8", resources: { CPU: 8 } }), "");
    assert.match(problemsOf(config(least, { compute_config: {} })), /head_node\.instance_type: is missing/);
  });

  it("asks which GPUs an N1 machine is to have, and how many", () => {
    const t4 = { name: "t4", instance_type: "n1-standard-8" };
    const given = { ...least, workerGroups: { t4: { accelerator: "nvidia-tesla-t4" } } };
    assert.match(
      problemsOf(config(least, workers({ ...t4, resources: { GPU: 1 } }))),
      /comes with none; name them: .*nvidia-tesla-t4/,
    );
    assert.match(problemsOf(config(given, workers(t4))), /says nothing of the GPUs/);
    assert.equal(problemsOf(config(given, workers({ ...t4, resources: { GPU: 1 } }))), "");
  });

  it("refuses worker groups that would share a label", () => {
    const groups = workers(
      { name: "g2.gpu", instance_type: "g2-standard-4" },
      { name: "g2-gpu", instance_type: "g2-standard-4" },
    );
    assert.match(
      problemsOf(config(least, groups)),
      /worker_nodes\[1\]\.name: "g2-gpu" is the same label as that of worker_nodes\[0\]/,
    );
  });

  it("is refused with another target, and the local port with it", () => {
    const local = { service: JSON.stringify({ ...service }), gcp: JSON.stringify(least) };
    assert.match(problemsOf(local), /rayshift:gcp: .*the target is local/);
    assert.match(problemsOf(config(least, {}, { port: "80" })), /rayshift:port: /);
  });
});
