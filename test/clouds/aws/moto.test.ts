import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { awsTarget } from "../../../components/aws";
import type { Placement } from "../../../components/placement";
import { Service } from "../../../components/service";
import { countWorkerInstances } from "../../../provider/aws/instances";
import { reaper } from "../../../provider/aws/reaper";
import { settings } from "../../components/aws/settingsForTests";
import { placing, recordAfter, version } from "../../components/builders";
import { named, type Registered, registering } from "../../components/mockedEngine";
import { madeByAws } from "../../fake/cloud/awsRules";
import { endMarked, markedBy } from "../../marked";
import { freePort } from "../../provider/serve/rayForTests";
import { root } from "../../setup/support";
import { cloudsPython, type Given, MotoAccount, type MotoInstance } from "./account";

const machines = {
  compute_config: {
    head_node: { instance_type: "m5.large" },
    worker_nodes: [
      { name: "gpu", instance_type: "g5.xlarge", resources: { CPU: 1, GPU: 1 }, min_nodes: 0, max_nodes: 3 },
    ],
  },
};
const v1 = version("v1", machines);
const v2 = version("v2", machines);
/** Workers, each a raylet on this host, which may have two processors only. */
const NEEDED = 2;
/** Calls, each in a thread of moto's server. */
const AT_ONCE = 100;
/** Of an idle worker; Ray looks every few seconds. */
const IDLE_SECONDS = 3;

/** Ray takes some 20 s for each step on an idle machine. */
const PATIENCE_MS = 240_000;

/** What AWS's own client has beside it, and nothing that Ray brings itself. */
const CLIENT = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3"];

/**
 * The target aws against moto, which has AWS's API and nothing behind it: that the API takes what the program declares,
 * Ray's own autoscaler with the config of the head's start script, and the reaper. A local raylet stands for each machine
 * that moto cannot boot. Rights are not checked: moto lets everybody do everything. The tests build on each other.
 */
describe("the target aws against moto", function () {
  this.timeout(600_000);
  this.bail(true);
  let account: MotoAccount;
  let given: Given;
  let folder: string;
  let first: Registered[];
  const started: ChildProcess[] = [];
  const own: Record<string, string | undefined> = {};

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rs-"));
    account = await MotoAccount.start();
    for (const [name, value] of Object.entries(account.environment)) {
      own[name] = process.env[name];
      process.env[name] = value;
    }
    given = await account.given();
  });
  after(async () => {
    await endMarked(folder, started);
    await account?.stop();
    for (const [name, value] of Object.entries(own)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  const declared = async (placement: Placement) => {
    const times = {
      service: "sample-service",
      startupTimeoutSeconds: 600,
      drainTimeoutSeconds: 60,
      idleTimeoutSeconds: IDLE_SECONDS,
      secret: false,
    };
    const { network, certificateArn, policyArn } = given;
    // All that can be declared.
    const all = settings({
      ...network,
      loadBalancer: { certificateArn, hostname: "models.example.com" },
      workerPolicyArns: [policyArn],
      permissionsBoundary: policyArn,
    });
    const { resources } = await registering(
      { learned: madeByAws },
      () => new Service("sample-service", { target: awsTarget(times, all), placement }),
    );
    return resources;
  };
  const workers = async () => (await account.instances()).filter(({ tags }) => tags["ray-node-type"] === "worker");
  const alive = (instances: MotoInstance[]) => instances.filter(({ state }) => state === "running");

  it("is heard call by call, however many come at once", async () => {
    const place = { region: "us-west-2", clusterName: "sample-cluster" };
    const before = account.calls.length;
    await Promise.all(Array.from({ length: AT_ONCE }, () => countWorkerInstances(place)));
    const calls = await until("a line for each call", async () => {
      const heard = account.calls.slice(before);
      return heard.length < AT_ONCE ? undefined : heard;
    });
    assert.deepEqual(calls, Array(AT_ONCE).fill("ec2 DescribeInstances"));
  });

  it("takes everything of a first deploy, and the head comes with the tags that Ray looks for", async () => {
    first = await declared(placing({}, v1, undefined));
    assert.equal(named(first, "listener").inputs.protocol, "HTTPS");
    assert.ok(first.some(({ type }) => type === "aws:iam/rolePolicyAttachment:RolePolicyAttachment"));
    await account.apply(first);
    const [head, ...others] = await account.instances();
    assert.deepEqual([head?.type, others], ["m5.large", []]);
    assert.equal(head?.tags["ray-cluster-name"], named(first, "reaper-v1").inputs.clusterName);
    assert.equal(head?.tags["ray-node-type"], "head");
  });

  it("takes the weights of every waypoint, 0 too", async () => {
    const at = (primaryCapacity: number, canaryCapacity: number, canaryTraffic: number) => ({
      waypoint: {
        ...{ primary: "v1", canary: "v2", primaryCapacity, canaryCapacity, canaryTraffic, surge: 50 },
        ...{ direction: "forward" as const, startedAt: "2026-01-31T12:00:00.000Z" },
      },
    });
    let record = recordAfter(placing({}, v1, undefined));
    const seen: number[][] = [];
    for (const config of [at(50, 50, 50), at(0, 100, 100), {}]) {
      const placement = placing(config, v2, record);
      const rules = await account.apply(await declared(placement));
      const traffic = rules.find(({ Priority }) => Priority === "20");
      seen.push((traffic?.Actions[0]?.ForwardConfig?.TargetGroups ?? []).map(({ Weight }) => Weight));
      record = recordAfter(placement);
    }
    assert.deepEqual(seen, [[50, 50], [0, 100], [100]]);
  });

  it("has Ray's autoscaler go from no worker to one for each that is needed and back, by calls that the head's role has", async () => {
    const ray = await rayHead();
    const before = account.calls.length;
    await until("an answer of Ray's head", () => listening(ray.port));
    const task = ray.run("-c", TASK.replace("ADDRESS", JSON.stringify(ray.address)));
    const ending = ended(task);
    const launched = await until("a machine for each actor", async () => {
      if (task.exitCode !== null) throw new Error((await ending).said);
      const machines = alive(await workers());
      return machines.length < NEEDED ? undefined : machines;
    });
    assert.deepEqual(
      launched.map(({ type }) => type),
      Array(NEEDED).fill("g5.xlarge"),
    );
    for (const machine of launched) ray.startWorker(machine);
    const end = await ending;
    assert.equal(end.code, 0, end.said);
    assert.match(end.said, new RegExp(`used ${NEEDED} nodes`));
    assert.equal((await workers()).length, NEEDED, "and no machine more, though the group may have one");
    await until("no worker", async () => (alive(await workers()).length === 0 ? true : undefined));
    const calls = new Set(account.calls.slice(before).filter((call) => call.startsWith("ec2 ")));
    calls.delete("ec2 TerminateInstances");
    assert.ok(calls.has("ec2 RunInstances"));
    const policy = JSON.parse(String(named(first, "head-rights-v1").inputs.policy)) as {
      Statement: Array<{ Action: string | string[] }>;
    };
    const allowed = policy.Statement.flatMap(({ Action }) => Action).map((action) => action.replace(":", " "));
    // The tests themselves look at machines only.
    for (const call of calls) assert.ok(allowed.includes(call), `${call} among ${allowed.join(", ")}`);
  });

  it("ends every machine of a cluster at its end, and no other", async () => {
    const { clusterName } = named(first, "reaper-v1").inputs as { clusterName: string };
    const place = { region: "us-west-2", clusterName };
    const others = alive(await account.instances()).filter(({ tags }) => tags["ray-cluster-name"] !== clusterName);
    assert.ok(others.length > 0);
    // The head goes before: it could launch again, and so could its group.
    await account.endGroup(String(named(first, "head-v1").inputs.name));
    const tags = { "ray-cluster-name": clusterName, "ray-node-type": "worker" };
    await account.launch({ image: given.network.ami, type: "g5.xlarge", count: 2, tags });
    assert.equal(await countWorkerInstances(place), 2);
    const context = { urn: "", name: "reaper-v1", signal: new AbortController().signal, progress() {}, warn() {} };
    await reaper.delete(clusterName, { ...place, timeoutSeconds: 60 }, context);
    assert.deepEqual(
      alive(await account.instances()).map(({ id }) => id),
      others.map(({ id }) => id),
    );
  });

  /** Ray's head by the start script's own config, on this host and with moto for AWS. */
  const rayHead = async () => {
    const python = process.env.RAYSHIFT_PYTHON;
    if (python === undefined) throw new Error("RAYSHIFT_PYTHON has to name a Python with Ray; the set-up exports it");
    const client = join(folder, "client");
    mkdirSync(client);
    const packages = join(cloudsPython(), "..", "..", "lib");
    const site = join(packages, readdirSync(packages)[0] ?? "", "site-packages");
    for (const name of CLIENT) symlinkSync(join(site, name), join(client, name));
    const script = Buffer.from(String(named(first, "head-template-v1").inputs.userData), "base64").toString();
    const [, config = ""] = /autoscaling\.json <<'RAYSHIFT_FILE'\n(.*?)\nRAYSHIFT_FILE/s.exec(script) ?? [];
    const autoscaling = join(folder, "autoscaling.json");
    writeFileSync(autoscaling, account.real(config));
    const [head] = await account.instances();
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const shared = {
      ...process.env,
      ...markedBy(folder),
      PYTHONPATH: client,
      RAY_USAGE_STATS_ENABLED: "0",
      // Ray listens on other addresses where it may have nodes on other machines.
      RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER: "0",
      RAY_enable_autoscaler_v2: "1",
      AUTOSCALER_UPDATE_INTERVAL_S: "1",
    };
    const start = (environment: NodeJS.ProcessEnv, args: readonly string[]) => {
      const child = spawn(python, args, { env: { ...shared, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
      started.push(child);
      return child;
    };
    const local = ["--object-store-memory=80000000", "--disable-usage-stats", "--node-ip-address=127.0.0.1"];
    start({ RAY_CLOUD_INSTANCE_ID: head?.id, RAY_NODE_TYPE_NAME: "head" }, [
      ...["-m", "ray.scripts.scripts", "start", "--head", "--block", `--port=${port}`, "--num-cpus=0", "--num-gpus=0"],
      ...[
        `--autoscaling-config=${autoscaling}`,
        "--include-dashboard=false",
        `--temp-dir=${join(folder, "r")}`,
        ...local,
      ],
    ]);
    return {
      address,
      port,
      run: (...args: string[]) => start({}, args),
      /** It says who it is by its environment, as its start script has it. */
      startWorker: ({ id }: MotoInstance) => {
        const program = join(root, "test", "clouds", "aws", "python", "loopback_worker.py");
        // In one folder two that start at the same time take the same socket.
        const own = join(folder, id.slice(-6));
        return start({ RAY_CLOUD_INSTANCE_ID: id, RAY_NODE_TYPE_NAME: "gpu" }, [program, address, own]);
      },
    };
  };
});

/** Holds a GPU by each of some actors at the same time, which no machine of the group has more than one of. */
const TASK = `
import ray
ray.init(ADDRESS, log_to_driver=False)

@ray.remote(num_gpus=1)
class Use:
    def node(self):
        return ray.get_runtime_context().get_node_id()

actors = [Use.remote() for _ in range(${NEEDED})]
print("used", len(set(ray.get([actor.node.remote() for actor in actors], timeout=240))), "nodes")
`;

function listening(port: number): Promise<true | undefined> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => done(undefined));
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
  });
}

async function ended(child: ChildProcess): Promise<{ code: number | null; said: string }> {
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (said += data));
  const code = await new Promise<number | null>((resolve) => {
    if (child.exitCode !== null) resolve(child.exitCode);
    else child.once("exit", resolve);
  });
  return { code, said };
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(500)) {
    const found = await look();
    if (found !== undefined) return found;
  }
  throw new Error(`there is not ${what} after ${PATIENCE_MS / 1000} s`);
}
