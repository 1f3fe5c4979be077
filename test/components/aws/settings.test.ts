import assert from "node:assert/strict";
import { InvalidInput } from "../../../components/problems";
import { parseStackConfig } from "../../../components/stackConfig";
import { least } from "./settingsForTests";

const service = {
  name: "sample-service",
  applications: [{ import_path: "app:app" }],
  image_uri: "rayproject/ray:2.60.0",
  compute_config: {
    head_node: { instance_type: "m5.large" },
    worker_nodes: [{ name: "gpu", instance_type: "g5.xlarge", min_nodes: 0, max_nodes: 8 }],
  },
};

function config(aws: unknown, changes: Record<string, unknown> = {}, own: Record<string, string> = {}) {
  return {
    target: "aws",
    service: JSON.stringify({ ...service, ...changes }),
    ...(aws === undefined ? {} : { aws: JSON.stringify(aws) }),
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

const compute = (head: string, worker: object) => ({
  compute_config: { head_node: { instance_type: head }, worker_nodes: [{ name: "gpu", ...worker }] },
});

describe("the stack config of the target aws", () => {
  it("needs a network, an image, who may see the dashboard, and how requests are encrypted", () => {
    const { aws } = parseStackConfig(config(least));
    assert.equal(aws?.diskGiB, 200);
    assert.equal(aws?.loadBalancer.idleTimeoutSeconds, 600);
    assert.match(problemsOf(config(undefined)), /rayshift:aws: is missing.*docs\/aws\.md/);
    const empty = problemsOf(config({}));
    for (const key of ["region", "vpcId", "subnetIds", "ami", "dashboardCidrs", "loadBalancer"]) {
      assert.match(empty, new RegExp(`rayshift:aws\\.${key}: `), key);
    }
  });

  it("opens the dashboard to some and never to everybody", () => {
    for (const block of ["0.0.0.0/0", "::/0", "10.0.0.1"]) {
      const problems = problemsOf(config({ ...least, dashboardCidrs: [block] }));
      assert.match(problems, /dashboardCidrs\[0\]: .* not everybody's/, block);
    }
  });

  it("sends tokens unencrypted only where that was chosen, and asks for the certificate's name", () => {
    assert.match(problemsOf(config({ ...least, loadBalancer: {} })), /certificateArn: is missing.*`http: true`/);
    const certificateArn = "arn:aws:acm:us-west-2:123456789012:certificate/0a1b";
    assert.match(problemsOf(config({ ...least, loadBalancer: { certificateArn } })), /hostname: is missing/);
    const both = { certificateArn, hostname: "models.example.com", http: true };
    assert.match(problemsOf(config({ ...least, loadBalancer: both })), /http: .*leave out one/);
    assert.equal(
      problemsOf(config({ ...least, loadBalancer: { certificateArn, hostname: "models.example.com" } })),
      "",
    );
  });

  it("wants two zones for the load balancer", () => {
    const one = { ...least, subnetIds: least.subnetIds.slice(0, 1) };
    assert.match(problemsOf(config(one)), /subnetIds: .*two zones/);
    assert.equal(problemsOf(config({ ...one, loadBalancer: { http: true, subnetIds: least.subnetIds } })), "");
  });

  it("wants machines of AWS's own types, for the head too, and names one that is near", () => {
    assert.match(problemsOf(config(least, { compute_config: {} })), /head_node\.instance_type: is missing.*m5\.large/);
    const wrong = problemsOf(config(least, compute("n2-standard-4", { instance_type: "g2-standard-4" })));
    assert.match(wrong, /head_node\.instance_type: "n2-standard-4" is no instance type of aws/);
    assert.match(wrong, /worker_nodes\[0\]\.instance_type: "g2-standard-4" is no instance type of aws/);
    const own = compute("m5.large", { instance_type: "z9.huge", resources: { CPU: 8, GPU: 1 } });
    assert.equal(problemsOf(config(least, own)), "");
    const unknown = problemsOf(config(least, compute("m5.large", { instance_type: "g5.2xlrage" })));
    assert.match(unknown, /did you mean `g5\.2xlarge`/);
  });

  it("keeps no worker that nobody needs, and no folder that no machine sees", () => {
    const kept = compute("m5.large", { instance_type: "g5.xlarge", min_nodes: 1 });
    assert.match(problemsOf(config(least, kept)), /min_nodes: 1 must be 0 on the target aws/);
    assert.match(problemsOf(config(least, { working_dir: "./code" })), /working_dir: "\.\/code" .*s3:\/\/bucket/);
  });

  it("refuses keys of one target with another", () => {
    assert.match(problemsOf(config(least, {}, { port: "80" })), /rayshift:port: .*`loadBalancer\.port`/);
    const local = { service: JSON.stringify(service), aws: JSON.stringify(least) };
    assert.match(problemsOf(local), /rayshift:aws: .*the target is local/);
  });

  it("says what has no effect", () => {
    const { notices } = parseStackConfig(config(least, { ray_version: "2.60.0", tags: { team: "a" } }));
    assert.deepEqual(notices, ["`ray_version`: without effect on the target aws"]);
  });
});
