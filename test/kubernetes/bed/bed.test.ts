import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { identify } from "../../../provider/local/process";
import { Api, ApiError } from "./api";
import { type Bed, BUILD_MS, startBed } from "./bed";
import { buildParts, partFolder } from "./binaries";
import { inNamespace } from "./left";
import { httpRoute, rayService } from "./objects";
import { controlPlane, etcd, gatewayDefinitions, kuberayDefinitions, pulumiPlugin } from "./parts";
import { until } from "./until";

/** Folders of beds that a process of this pid made. */
const foldersOf = (pid: number | undefined) =>
  readdirSync(tmpdir()).filter((name) => name.startsWith(`rayshift-bed-${pid}-`));

const mounts = () => readFileSync("/proc/self/mounts", "utf8");

describe("Kubernetes test bed: API server", function () {
  this.timeout(BUILD_MS);
  let mountsBefore: string;
  let bed: Bed;
  let namespace: string;
  before(async () => {
    mountsBefore = mounts();
    bed = await startBed("api");
    namespace = await bed.namespace();
  });
  after(() => bed?.stop());
  const path = (group: string, plural: string, name: string) =>
    `/apis/${group}/namespaces/${namespace}/${plural}/${name}`;

  it("keeps to this host's loopback", async () => {
    assert.equal(statSync(bed.kubeconfig).mode & 0o777, 0o600);
    const { clusters } = JSON.parse(readFileSync(bed.kubeconfig, "utf8"));
    assert.match(clusters[0].cluster.server, /^https:\/\/127\.0\.0\.1:\d+$/);
    await assert.rejects(reach("127.0.0.1", 6443), "the API server's own port is none of the host's");
    const [pid] = bed.pids();
    assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync("/proc/self/ns/net"));
  });

  it("takes a RayService and an HTTPRoute by server-side apply", async () => {
    const { apiVersion, kind, metadata } = await bed.api.apply(
      path("ray.io/v1", "rayservices", "primary"),
      rayService("primary", 4),
    );
    assert.deepEqual([apiVersion, kind, metadata.generation], ["ray.io/v1", "RayService", 1]);
    const route = await bed.api.apply(
      path("gateway.networking.k8s.io/v1", "httproutes", "service"),
      httpRoute("service", "primary", "canary", 10),
    );
    const { matches, backendRefs } = route.spec.rules[0];
    assert.deepEqual(matches, [{ path: { type: "PathPrefix", value: "/" } }], "the schema's default");
    assert.deepEqual(
      backendRefs.map(({ weight }: { weight: number }) => weight),
      [90, 10],
    );
  });

  it("refuses what the schemas do not allow, with the field", async () => {
    const bad = rayService("bad", 1);
    bad.spec.rayClusterConfig.workerGroupSpecs[0].minReplicas = "none";
    await refused(bed.api.apply(path("ray.io/v1", "rayservices", "bad"), bad), /minReplicas/);
    const route = httpRoute("bad", "primary", "canary", 10);
    route.spec.rules[0].backendRefs[0].weight = -1;
    await refused(bed.api.apply(path("gateway.networking.k8s.io/v1", "httproutes", "bad"), route), /weight/);
    await refused(
      bed.api.apply(path("gateway.envoyproxy.io/v1alpha1", "securitypolicies", "bad"), {
        apiVersion: "gateway.envoyproxy.io/v1alpha1",
        kind: "SecurityPolicy",
        metadata: { name: "bad" },
        spec: {},
      }),
      /targetRef/,
    );
  });

  it("gives a service account's access, with its rights and no others", async () => {
    const within = `/api/v1/namespaces/${namespace}`;
    await bed.api.create(`${within}/serviceaccounts`, { metadata: { name: "watcher" } });
    const kubeconfig = await bed.kubeconfigFor(namespace, "watcher");
    assert.equal(statSync(kubeconfig).mode & 0o777, 0o600);
    const watcher = new Api(kubeconfig);
    const services = `/apis/ray.io/v1/namespaces/${namespace}/rayservices`;
    await assert.rejects(watcher.get(services), /watcher" cannot list resource "rayservices"/);
    const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
    await bed.api.create(`${rbac}/roles`, {
      metadata: { name: "watch" },
      rules: [{ apiGroups: ["ray.io"], resources: ["rayservices"], verbs: ["list"] }],
    });
    await bed.api.create(`${rbac}/rolebindings`, {
      metadata: { name: "watch" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "watch" },
      subjects: [{ kind: "ServiceAccount", name: "watcher" }],
    });
    await until("the rights", 10, () => watcher.get(services));
    await assert.rejects(watcher.delete(`${services}/primary`), /cannot delete resource "rayservices"/);
    watcher.close();
  });

  it("leaves nothing behind", async () => {
    const pids = bed.pids();
    const held = readlinkSync(`/proc/${pids[0]}/ns/net`);
    const folder = dirname(bed.kubeconfig);
    assert.deepEqual(inNamespace(held).sort(), [...pids].sort(), "every process in the namespace is recorded");
    const port = Number(new URL(JSON.parse(readFileSync(bed.kubeconfig, "utf8")).clusters[0].cluster.server).port);
    await bed.stop();
    assert.deepEqual(pids.filter(identify), []);
    assert.deepEqual(inNamespace(held), []);
    assert.equal(existsSync(folder), false);
    assert.equal(mounts(), mountsBefore);
    await assert.rejects(reach("127.0.0.1", port));
  });

  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    it(`ends with a process that is ended by ${signal}`, async () => {
      const { child, kubeconfig, ended } = startMain();
      const folder = dirname(await kubeconfig);
      const pids = programsOf(child.pid!);
      assert.equal(pids.length, 3, "etcd, the API server and the door");
      const held = readlinkSync(`/proc/${pids[0]}/ns/net`);
      child.kill(signal);
      assert.deepEqual(await ended, { code: null, signal });
      await until("the end of its programs", 10, () => inNamespace(held).length === 0 || undefined);
      assert.deepEqual(pids.filter(identify), []);
      if (signal !== "SIGKILL") return assert.equal(existsSync(folder), false);
      // Nobody was left to remove it: the next one does.
      assert.equal(existsSync(folder), true);
      const next = startMain();
      await next.kubeconfig;
      assert.equal(existsSync(folder), false);
      next.child.kill("SIGTERM");
      await next.ended;
    });
  }

  it("says what went wrong when a program does not start, and leaves nothing then", async () => {
    const cache = mkdtempSync(join(tmpdir(), "rayshift-kubernetes-cache-"));
    try {
      const parts = [etcd, controlPlane, kuberayDefinitions, gatewayDefinitions, pulumiPlugin];
      await buildParts(parts);
      for (const part of parts) {
        const folder = partFolder(part, { XDG_CACHE_HOME: cache });
        mkdirSync(dirname(folder), { recursive: true });
        if (part !== controlPlane) symlinkSync(partFolder(part, process.env), folder);
        else {
          mkdirSync(folder);
          writeFileSync(join(folder, "kube-apiserver"), "#!/bin/sh\necho no room for certificates >&2\nexit 3\n");
          chmodSync(join(folder, "kube-apiserver"), 0o755);
        }
      }
      const { child, ended, stderr } = startMain({ XDG_CACHE_HOME: cache });
      assert.deepEqual(await ended, { code: 1, signal: null });
      assert.match(stderr(), /kube-apiserver ended with exit code 3; the end of its log:\nno room for certificates/);
      assert.deepEqual(foldersOf(child.pid), []);
    } finally {
      rmSync(cache, { recursive: true, force: true });
    }
  });
});

/** A bed in a process of its own. */
function startMain(environment: NodeJS.ProcessEnv = {}): {
  child: ChildProcess;
  kubeconfig: Promise<string>;
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stderr: () => string;
} {
  const child = spawn(process.execPath, [join(__dirname, "main.js"), "api"], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part) => {
    text += part;
  });
  return {
    child,
    kubeconfig: new Promise((resolve, reject) => {
      child.stdout.setEncoding("utf8").once("data", (line) => resolve(line.trim()));
      child.once("close", () => reject(new Error(`no bed: ${text}`)));
    }),
    ended: new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal }))),
    stderr: () => text,
  };
}

function programsOf(parent: number): number[] {
  return readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim().split(" ").map(Number);
}

async function refused(answer: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(answer, (error: unknown) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.ok([400, 422, 500].includes(error.status), `status ${error.status}`);
    assert.match(error.message, message);
    return true;
  });
}

function reach(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port }, () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", reject);
  });
}
