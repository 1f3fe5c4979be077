import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { awsHeadShell, awsShell } from "../../components/aws/shell";
import { headScript, runDirectory, workerScript } from "../../components/cloud/boot";
import { resourcesOf } from "../../components/instanceTypes";
import { cloudsPython } from "./aws/account";

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

/**
 * The start scripts of machines. They are run by a real bash to their end; what they call is there as scripts that write
 * down how they were called, and the run directory is elsewhere. What AWS, Docker and Ray make of that is not tested here.
 */
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

  /** Runs a script with stand-ins for what it calls; `answers` are what those print, by their first words. */
  const boot = async (script: string, answers: Record<string, string> = {}) => {
    const bin = join(folder, "bin");
    const own = join(folder, "run");
    mkdirSync(bin);
    const said = {
      "aws secretsmanager": "token-of-ray\ntoken-of-requests",
      "aws s3": '{"applications": []}',
      "curl -fsS --retry 5 -X": "metadata-token",
      "curl -fsS --retry 5 -H": "i-0a1b",
      hostname: "10.0.0.7 172.17.0.1",
      "docker run --rm --entrypoint": String(process.getuid?.() ?? 0),
      ...answers,
    };
    const cases = Object.entries(said).map(([words, text]) => `  "${words}"*) printf '%s\\n' '${text}' ;;`);
    const standIn = [
      "#!/bin/bash",
      `call="$(basename "$0") $*"`,
      `printf '%s\\n' "$call" >>${folder}/calls`,
      `[ "$(basename "$0")" = ray ] && env | grep -E '^(RAY|PYTHONPATH)' >${folder}/environment`,
      // Whoever is waited for is there a moment later.
      '[ "$(basename "$0")" = ray ] && /bin/sleep 1',
      '[ "$(basename "$0")" = sleep ] && /bin/sleep 0.5',
      'case "$call" in',
      ...cases,
      "esac",
      "exit 0",
    ].join("\n");
    for (const name of ["aws", "curl", "docker", "ray", "shutdown", "install", "hostname", "sleep", "chown"]) {
      writeFileSync(join(bin, name), standIn);
      chmodSync(join(bin, name), 0o755);
    }
    const file = join(folder, "boot.sh");
    writeFileSync(file, script.replaceAll(runDirectory, own));
    const { code, stdout } = await run("/bin/bash", [file], { PATH: `${bin}:/usr/bin:/bin` });
    const calls = readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
    const environment = existsSync(join(folder, "environment"))
      ? readFileSync(join(folder, "environment"), "utf8")
      : "";
    return { code, stdout, calls, environment, own };
  };

  it("have a head take its secret, announce itself, serve what the one before served, and end with Ray", async () => {
    const { calls, environment, own } = await boot(head(undefined));
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
    const { calls } = await boot(head(undefined), { "aws s3": "" });
    assert.ok(!calls.some((call) => call.includes("-X PUT -H @")));
  });

  for (const [name, script] of scripts) {
    it(`keep tokens to files of their own, and out of every command: ${name}`, async () => {
      const { calls, own } = await boot(script);
      assert.ok(!calls.some((call) => /token-of-(ray|requests)/.test(call)), calls.join("\n"));
      for (const file of ["token", "query-token", "header"]) {
        assert.equal(statSync(join(own, file)).mode & 0o077, 0, file);
      }
      assert.ok(!existsSync(join(own, "secret")));
    });
  }

  it("have a worker join by the head's name as what the autoscaler expects, and end with Ray", async () => {
    const { calls, environment } = await boot(worker(undefined));
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
    const { calls } = await boot(worker(image));
    assert.ok(calls.includes("aws ecr get-login-password --region us-west-2"));
    const ran = calls.find((call) => call.startsWith("docker run --rm --name ray")) ?? "";
    assert.match(ran, /--network host --ipc host --gpus all/);
    assert.match(ran, new RegExp(`${image} ray start --block`));
  });

  it("ask for no GPU where there is none", () => assert.doesNotMatch(head(image), /--gpus/));

  it("end a machine that cannot become a node", async () => {
    const broken = worker(undefined).replace("read_secret >secret", "false");
    const { calls, code } = await boot(broken);
    assert.notEqual(code, 0);
    assert.ok(!calls.some((call) => call.startsWith("ray ")));
    assert.equal(calls.at(-1), "shutdown -h now");
  });
});

function run(
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): Promise<{ code: number; stdout: string }> {
  return new Promise((done) => {
    execFile(command, args, { env: environment }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code ?? -1), stdout: stdout + stderr }),
    );
  });
}
