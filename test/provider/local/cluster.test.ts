import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { digestDirectory } from "../../../components/version";
import { type ClusterInputs, type ClusterState, cluster } from "../../../provider/local/cluster";
import { localPackage } from "../../../provider/local/package";
import { clusterProcesses, liveWorkerCount } from "../../../provider/local/rayProcesses";
import type { OperationContext } from "../../../provider/resource";
import { deleteApplications, getApplications, putApplications } from "../../../provider/serve/dashboard";
import { clusterNodes } from "../../../provider/serve/nodes";

const python = process.env.RAYSHIFT_PYTHON ?? "python3";
const root = mkdtempSync(join(tmpdir(), "rs-"));
const directory = join(root, "c1");

const inputs: ClusterInputs = {
  directory,
  clusterName: "sample-v1",
  python,
  head: { cpus: 1, gpus: 0 },
  workers: [{ name: "gpu", cpus: 1, gpus: 1, minNodes: 0, maxNodes: 2 }],
  idleTimeoutSeconds: 3,
};

function contextOf(signal = new AbortController().signal): OperationContext & { lines: string[] } {
  const lines: string[] = [];
  const progress = (line: string) => void lines.push(line);
  return { urn: "urn:test", name: "test", signal, progress, warn: progress, lines };
}

async function eventually(what: string, seconds: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(200)) if (await holds()) return;
  assert.fail(`not within ${seconds} s: ${what}`);
}

/** The local ports, with the addresses, on which processes of the cluster listen. */
function listeners(directory: string): string[] {
  const sockets = new Set(
    clusterProcesses(directory).flatMap(({ pid }) => {
      const links = execFileSync("sh", ["-c", `ls -l /proc/${pid}/fd 2>/dev/null || true`], { encoding: "utf8" });
      return [...links.matchAll(/socket:\[(\d+)\]/g)].map((match) => match[1]!);
    }),
  );
  return ["tcp", "tcp6"].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === "0A" && sockets.has(fields[9] ?? ""))
      .map((fields) => fields[1]!),
  );
}

const LOOPBACK = /^(0100007F|0000000000000000FFFF00000100007F|00000000000000000000000001000000):/;

/** Calls a replica's port for its own kind as a stranger does; prints the status. */
const CALL_REPLICA = `
import sys, grpc
call = grpc.insecure_channel("127.0.0.1:" + sys.argv[1]).unary_unary("/ray.serve.ASGIService/HandleRequest")
try: call(b"", timeout=10); print("answered")
except grpc.RpcError as error: print(error.code())
`;

describe("a local Ray cluster", function () {
  this.timeout(180_000);
  let state: ClusterState;

  /** Gives the cluster one application of this code; Ray keeps what it unpacked, also when the folder is gone. */
  const serve = async (name: string, code: string) => {
    const source = join(root, `code-${name}`);
    mkdirSync(source);
    writeFileSync(join(source, `${name}.py`), code);
    const packed = await localPackage.create(
      { source, digest: await digestDirectory(source), excludes: [], store: join(root, "store") },
      contextOf(),
    );
    rmSync(source, { recursive: true });
    const [host, port] = state.serveAddress.split(":");
    await putApplications(state, {
      proxy_location: "HeadOnly",
      http_options: { host: host!, port: Number(port) },
      grpc_options: { port: state.grpcPort },
      applications: [
        {
          name,
          route_prefix: "/",
          import_path: `${name}:app`,
          runtime_env: { working_dir: packed.state.uri },
        },
      ],
      target_capacity: null,
    });
  };

  before(async () => {
    state = (await cluster.create(inputs, contextOf())).state;
  });

  after(async () => {
    for (const name of readdirSync(root).filter((each) => !each.endsWith(".lock"))) {
      await cluster.delete("", { ...state, directory: join(root, name) }, contextOf());
    }
    rmSync(root, { recursive: true, force: true });
  });

  it("starts with a head only, which Ray's dashboard lists", async () => {
    assert.equal(liveWorkerCount(directory), 0);
    const nodes = await clusterNodes(state);
    assert.deepEqual(
      nodes.map(({ alive, head, group }) => ({ alive, head, group })),
      [{ alive: true, head: true, group: "" }],
    );
  });

  it("answers nobody without the token, and shows the token to nobody", async () => {
    for (const path of ["/api/serve/applications/", "/api/v0/nodes", "/api/version"]) {
      assert.equal((await fetch(state.dashboardUrl + path)).status, 401, path);
    }
    const token = readFileSync(state.dashboardTokenFile, "utf8");
    assert.ok(token.length >= 32);
    for (const { pid, name } of clusterProcesses(directory)) {
      const [argv, environ] = ["cmdline", "environ"].map((file) => readFileSync(`/proc/${pid}/${file}`, "utf8"));
      assert.ok(!argv!.includes(token) && !environ!.includes(token), `the token is shown by ${name}`);
    }
    const holders = execFileSync("grep", ["-rl", token, directory], { encoding: "utf8" }).trim().split("\n");
    assert.deepEqual(holders, [state.dashboardTokenFile]);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    assert.equal(statSync(state.dashboardTokenFile).mode & 0o777, 0o600);
    assert.ok(!JSON.stringify(state).includes(token));
  });

  it("keeps the secrets of whoever starts it from its replicas", () => {
    const head = readFileSync(`/proc/${state.headPid}/environ`, "utf8");
    assert.ok(head.includes("PATH="));
    assert.ok(!/PULUMI_|AWS_SECRET/.test(head));
  });

  it("is adopted by another create, and unchanged when only the path of Python differs", async () => {
    const again = await cluster.create(inputs, contextOf());
    assert.deepEqual(again.state, state);
    assert.deepEqual(cluster.diff(state, { ...inputs, python: "/usr/bin/other" }), { changes: false });
    assert.deepEqual(cluster.diff(state, { ...inputs, idleTimeoutSeconds: 9 }).replaces, ["idleTimeoutSeconds"]);
    assert.deepEqual(await cluster.read(directory, state, contextOf()), state);
  });

  it("adds a worker for a replica, survives its and the autoscaler's death, and removes it when it is idle", async () => {
    await serve(
      "hello",
      "from ray import serve\n\n@serve.deployment(ray_actor_options={'num_cpus': 0, 'num_gpus': 1})\n" +
        "class Hello:\n    async def __call__(self, request):\n        return 'hello'\n\napp = Hello.bind()\n",
    );
    const serves = async () => {
      const answer = await fetch(`http://${state.serveAddress}/`, { signal: AbortSignal.timeout(3000) }).catch(
        () => undefined,
      );
      return answer?.status === 200 && (await answer.text()) === "hello";
    };
    await eventually("the application answers", 60, serves);
    assert.equal(liveWorkerCount(directory), 1);
    const worker = (await clusterNodes(state)).find(({ head }) => !head);
    assert.deepEqual({ ...worker, id: "" }, { id: "", group: "gpu", alive: true, head: false });
    const open = listeners(directory).filter((address) => !LOOPBACK.test(address));
    assert.equal(open.length, 1, `of all ports only the replica's own may be open to the network: ${open}`);
    const refusal = execFileSync(python, ["-c", CALL_REPLICA, String(Number.parseInt(open[0]!.split(":")[1]!, 16))]);
    assert.match(refusal.toString(), /UNAUTHENTICATED/);

    const monitor = () =>
      clusterProcesses(directory).find(({ pid }) =>
        readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("v2/monitor.py"),
      );
    const first = monitor();
    process.kill(first!.pid, "SIGKILL");
    await eventually("the autoscaler runs again", 15, () => monitor() !== undefined && monitor()!.pid !== first!.pid);
    await sleep(4000);
    assert.equal(liveWorkerCount(directory), 1, "the new autoscaler keeps the worker and adds none");
    assert.ok(await serves());

    const raylets = clusterProcesses(directory).filter(
      ({ name, parent }) => name === "raylet" && parent !== state.headPid,
    );
    process.kill(raylets[0]!.pid, "SIGKILL");
    assert.deepEqual(await cluster.read(directory, state, contextOf()), state, "a dead worker is no drift");
    await eventually("the worker is replaced", 100, async () => liveWorkerCount(directory) === 1 && (await serves()));

    await deleteApplications(state);
    await eventually("no worker is left", 45, () => liveWorkerCount(directory) === 0);
  });

  it("adds no worker for a replica that comes after one that failed, and one for what a replica starts itself", async () => {
    await serve(
      "failing",
      "import time\nfrom ray import serve\n\n@serve.deployment(ray_actor_options={'num_cpus': 0, 'num_gpus': 1})\n" +
        "class Failing:\n    def __init__(self):\n        time.sleep(0.3)\n        raise RuntimeError('no weights')\n\n" +
        "app = Failing.bind()\n",
    );
    let most = 0;
    await eventually("the application failed", 90, async () => {
      most = Math.max(most, liveWorkerCount(directory));
      return (await getApplications(state)).applications.failing?.status === "DEPLOY_FAILED";
    });
    assert.equal(most, 1);

    await serve(
      "pair",
      "import ray\nfrom ray import serve\n\n@ray.remote(num_cpus=0, num_gpus=1)\nclass Second:\n    def name(self):\n" +
        "        return 'second'\n\n@serve.deployment(ray_actor_options={'num_cpus': 0, 'num_gpus': 1})\n" +
        "class First:\n    def __init__(self):\n        self.second = Second.remote()\n        ray.get(self.second.name.remote())\n\n" +
        "app = First.bind()\n",
    );
    await eventually("both of the pair run", 90, async () => {
      return (await getApplications(state)).applications.pair?.status === "RUNNING";
    });
    assert.equal(liveWorkerCount(directory), 2);
    await deleteApplications(state);
    await eventually("no worker is left", 45, () => liveWorkerCount(directory) === 0);
  });

  it("keeps the workers that a group always has, though nothing asks for them", async () => {
    const workers = [{ name: "gpu", cpus: 1, gpus: 1, minNodes: 1, maxNodes: 2 }];
    const waiting = { ...inputs, directory: join(root, "c4"), clusterName: "sample-v4", workers };
    const { state: always } = await cluster.create(waiting, contextOf());
    await eventually("the worker runs", 30, () => liveWorkerCount(waiting.directory) === 1);
    await sleep(1000 * (inputs.idleTimeoutSeconds + 2));
    assert.equal(liveWorkerCount(waiting.directory), 1);
    await cluster.delete(waiting.directory, always, contextOf());
  });

  it("is gone for a read when its GCS is killed, leaves nothing running, and the next create repairs it on the same ports", async () => {
    const gcs = clusterProcesses(directory).find(({ name }) => name === "gcs_server");
    process.kill(gcs!.pid, "SIGKILL");
    await sleep(50);
    assert.equal(await cluster.read(directory, state, contextOf()), undefined);
    const { state: repaired } = await cluster.create(inputs, contextOf());
    assert.notEqual(repaired.headPid, state.headPid);
    assert.deepEqual({ ...repaired, headPid: 0 }, { ...state, headPid: 0 });
    assert.equal(clusterProcesses(directory).filter(({ name }) => name === "gcs_server").length, 1);
    state = repaired;
  });

  it("leaves no process and no directory when it is deleted, twice too, and spares a person's shell in it", async () => {
    const shell = spawn("sleep", ["60"], { cwd: directory, stdio: "ignore" });
    try {
      await cluster.delete(directory, state, contextOf());
      assert.equal(shell.exitCode ?? shell.signalCode, null);
    } finally {
      shell.kill("SIGKILL");
    }
    assert.deepEqual(clusterProcesses(directory), []);
    assert.ok(!existsSync(directory));
    await cluster.delete(directory, state, contextOf());
    assert.equal(await cluster.read(directory, state, contextOf()), undefined);
  });

  it("takes up a create that was killed half way, and cleans up one that is cancelled", async () => {
    await cluster.delete(directory, state, contextOf());
    const script = `require(${JSON.stringify(require.resolve("../../../provider/local/cluster"))}).cluster.create(
      ${JSON.stringify(inputs)}, { signal: new AbortController().signal, progress() {}, warn() {} })`;
    const killed = spawn(process.execPath, ["-e", script], { stdio: "ignore" });
    await eventually("the head is being started", 30, () =>
      clusterProcesses(directory).some(({ name }) => name === "gcs_server"),
    );
    killed.kill("SIGKILL");
    const left = clusterProcesses(directory).map(({ pid }) => pid);
    assert.ok(left.length > 0);

    const controller = new AbortController();
    const creating = cluster.create(inputs, contextOf(controller.signal));
    await eventually("another head is being started", 40, () =>
      clusterProcesses(directory).some(({ name, pid }) => name === "gcs_server" && !left.includes(pid)),
    );
    controller.abort();
    await assert.rejects(creating, /abort/i);
    assert.deepEqual(clusterProcesses(directory), []);
    assert.ok(!existsSync(directory));
  });

  it("says what Python says when the head does not start, and leaves nothing", async () => {
    const failing = { ...inputs, directory: join(root, "c2"), python: "/bin/false" };
    await assert.rejects(cluster.create(failing, contextOf()), /sample-v1 did not start: its head ended/);
    assert.ok(!existsSync(failing.directory));
    const missing = { ...failing, python: "/nonexistent/python" };
    await assert.rejects(cluster.create(missing, contextOf()), /\/nonexistent\/python cannot be started/);
    assert.ok(!existsSync(failing.directory));
  });

  it("refuses a directory that is not its own and leaves it alone", async () => {
    const foreign = join(root, "c3");
    mkdirSync(foreign, { mode: 0o700 });
    writeFileSync(join(foreign, "thesis.txt"), "");
    await assert.rejects(cluster.create({ ...inputs, directory: foreign }, contextOf()), /holds thesis.txt/);
    await cluster.delete(foreign, { ...state, directory: foreign }, contextOf());
    assert.ok(existsSync(join(foreign, "thesis.txt")));
    rmSync(foreign, { recursive: true });
  });
});

describe("the inputs of a local Ray cluster", () => {
  it("are refused with all their problems at once", () => {
    const group = inputs.workers[0]!;
    const failures = cluster.check({
      ...inputs,
      directory: `/tmp/${"d".repeat(60)}`,
      workers: [group, { ...group, minNodes: 3 }, { ...group, name: "rayshift-head" }],
      idleTimeoutSeconds: 0,
    });
    assert.deepEqual(failures.map(({ property }) => property).sort(), [
      "directory",
      "idleTimeoutSeconds",
      "workers",
      "workers",
      "workers.1",
    ]);
  });

  it("may be unknown in a preview", () => {
    assert.deepEqual(cluster.check({ clusterName: "sample-v1" }), []);
  });
});
