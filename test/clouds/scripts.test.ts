import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { awsHeadShell, awsShell } from "../../components/aws/shell";
import { headScript, workerScript } from "../../components/cloud/boot";
import { resourcesOf } from "../../components/instanceTypes";
import { freePort } from "../provider/serve/rayForTests";
import { cloudsPython } from "./aws/account";
import { type BootOptions, boot, RAY_ENDED, run } from "./boot";

const place = { region: "us-west-2", secretArn: "arn:aws:secretsmanager:us-west-2:123456789012:secret:versions" };
const headPlace = {
  ...place,
  zoneId: "Z0123456789",
  recordName: "versions-v1.versions.rayshift.internal",
  bucket: "configs",
  configKey: "versions-v1/serve.json",
};
const group = {
  name: "gpu",
  // A quote in the name of a resource is a shell's business.
  resources: resourcesOf({ instance_type: "g5.xlarge", resources: { "team's": 1 } }),
  maxNodes: 8,
  nodeConfig: { LaunchTemplate: { LaunchTemplateId: "lt-0a1b", Version: "1" }, SubnetIds: ["subnet-0a1b"] },
};
const image = "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/ray:2.60.0";

const head = (of: string | undefined) =>
  headScript({
    clusterName: "versions-v1",
    image: of,
    shell: awsHeadShell(headPlace),
    cpus: 0,
    gpus: 0,
    proxyChecks: { token: true, exactRoles: true },
    autoscaling: {
      clusterName: "versions-v1",
      provider: { type: "aws", region: "us-west-2" },
      sshUser: "ubuntu",
      idleTimeoutSeconds: 60,
      groups: [group],
    },
  });
const worker = (of: string | undefined) =>
  workerScript({
    clusterName: "versions-v1",
    image: of,
    shell: awsShell(place),
    headHost: "versions-v1.versions.rayshift.internal",
    group,
  });

const scripts: Array<[name: string, script: string]> = [
  ["head on the machine", head(undefined)],
  ["head in an image", head(image)],
  ["worker on the machine", worker(undefined)],
  ["worker in an image", worker(image)],
];

/** The start scripts of machines, run to their end as {@link boot} does. */
describe("the start scripts of machines on AWS", function () {
  this.timeout(30_000);
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-boot-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  for (const [name, script] of scripts) {
    it(`are what shellcheck finds nothing in: ${name}`, async () => {
      const file = join(folder, "boot.sh");
      writeFileSync(file, script);
      const { code, stdout } = await run(join(dirname(cloudsPython()), "shellcheck"), [
        "-s",
        "bash",
        "-S",
        "style",
        file,
      ]);
      assert.equal(code, 0, stdout);
    });
  }

  const answers = {
    "aws secretsmanager": "token-of-ray\ntoken-of-requests",
    "aws s3": '{"applications": []}',
    "curl -fsS --retry 5 -X": "metadata-token",
    "curl -fsS --retry 5 -H": "i-0a1b",
  };
  const booted = (script: string, options: Partial<BootOptions> = {}) =>
    boot(script, folder, { ...options, answers: { ...answers, ...options.answers } });

  it("have a head take its secret, announce itself, serve what the one before served, and end with Ray", async () => {
    const { calls, environment, own } = await booted(head(undefined));
    const at = (text: string) => {
      const index = calls.findIndex((call) => call.includes(text));
      assert.notEqual(index, -1, `${text} among\n${calls.join("\n")}`);
      return index;
    };
    assert.ok(at("aws secretsmanager get-secret-value") < at("ray start --head"));
    assert.match(calls[at("route53 change-resource-record-sets")] ?? "", /"Value":"10\.0\.0\.7"/);
    assert.match(
      calls[at("ray start --head")] ?? "",
      /--num-cpus=0 --num-gpus=0 --autoscaling-config=\S+autoscaling\.json/,
    );
    assert.match(environment, /^RAY_CLOUD_INSTANCE_ID=i-0a1b$/m);
    assert.match(environment, /^RAY_NODE_TYPE_NAME=head$/m);
    assert.match(environment, /^RAY_enable_autoscaler_v2=1$/m);
    assert.match(environment, /^RAY_AUTH_MODE=token$/m);
    at("-X PUT -H @");
    assert.equal(calls.at(-1), "shutdown -h now");
    assert.equal(JSON.parse(readFileSync(join(own, "autoscaling.json"), "utf8")).cluster_name, "versions-v1");
    assert.deepEqual(
      ["token", "query-token"].map((name) => readFileSync(join(own, name), "utf8").trim()),
      ["token-of-ray", "token-of-requests"],
    );
  });

  it("have a first head serve nothing by itself", async () => {
    const { calls } = await booted(head(undefined), { answers: { "aws s3": "" } });
    assert.ok(!calls.some((call) => call.includes("-X PUT -H @")));
  });

  for (const [name, script] of scripts) {
    it(`keep tokens to files of their own, and out of every command: ${name}`, async () => {
      const { calls, own } = await booted(script);
      assert.ok(!calls.some((call) => /token-of-(ray|requests)/.test(call)), calls.join("\n"));
      for (const file of ["token", "query-token", "header"]) {
        assert.equal(statSync(join(own, file)).mode & 0o077, 0, file);
      }
      assert.ok(!existsSync(join(own, "secret")));
    });
  }

  it("have a worker join by the head's name as what the autoscaler expects, and end with Ray", async () => {
    const { calls, environment } = await booted(worker(undefined));
    const start = calls.find((call) => call.startsWith("ray start")) ?? "";
    assert.match(
      start,
      /--address=versions-v1\.versions\.rayshift\.internal:6379 --num-cpus=4 --num-gpus=1 --memory=\d+/,
    );
    assert.ok(start.includes(`--resources={"accelerator_type:A10G":1,"team's":1}`), start);
    assert.match(environment, /^RAY_NODE_TYPE_NAME=gpu$/m);
    // The watch over the head sleeps beside it, until it sees the script's end.
    assert.equal(calls.filter((call) => !call.startsWith("sleep ")).at(-1), "shutdown -h now");
  });

  it("log in to a registry of ECR in its own region, and give a worker's image the GPUs", async () => {
    const { calls } = await booted(worker(image));
    assert.ok(calls.includes("aws ecr get-login-password --region us-west-2"));
    const ran = calls.find((call) => call.startsWith("docker run --rm --name ray")) ?? "";
    assert.match(ran, /--network host --ipc host --gpus all/);
    assert.match(ran, new RegExp(`${image} ray start --block`));
  });

  it("ask for no GPU where there is none", () => assert.doesNotMatch(head(image), /--gpus/));

  it("end a worker while its Ray still runs, once its head is gone, and not before", async () => {
    const port = await freePort();
    const watching = worker(undefined).replace(/\/dev\/tcp\/[^/]+\/\d+/, `/dev/tcp/127.0.0.1/${port}`);
    const endedBeforeRay = async (name: string) => {
      const own = join(folder, name);
      mkdirSync(own);
      const { calls } = await boot(watching, own, { answers, raySeconds: 5, sleepSeconds: 0.05 });
      assert.ok(calls.filter((call) => call === "sleep 30").length > 10, calls.join("\n"));
      return calls.indexOf("shutdown -h now") < calls.indexOf(RAY_ENDED);
    };
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((listening) => server.listen(port, "127.0.0.1", listening));
    assert.equal(await endedBeforeRay("head").finally(() => server.close()), false);
    assert.equal(await endedBeforeRay("gone"), true);
  });

  it("end a machine that cannot become a node", async () => {
    const broken = worker(undefined).replace("read_secret >secret", "false");
    const { calls, code } = await booted(broken);
    assert.notEqual(code, 0);
    assert.ok(!calls.some((call) => call.startsWith("ray ")));
    assert.equal(calls.at(-1), "shutdown -h now");
  });
});
