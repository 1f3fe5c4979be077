import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "../../setup/support";
import { type Bed, BUILD_MS, prepareBeds, startBed } from "../bed/bed";
import { controlGroups } from "../bed/full/cgroups";
import { whyNoNode } from "../bed/full/debianPackages";
import { RAY_IMAGE } from "../bed/full/images";
import { KERNEL_DEFAULTS } from "../bed/full/machine";
import { inNamespace } from "../bed/left";
import { until } from "../bed/until";

const main = join(root, "dist", "test", "kubernetes", "bed", "main.js");

/** What the bed's programs could have changed of the host: mounts, named network namespaces, settings of the kernel. */
function host(): Record<string, unknown> {
  return {
    mounts: readFileSync("/proc/self/mounts", "utf8"),
    networks: existsSync("/run/netns") ? readdirSync("/run/netns") : [],
    kernel: Object.keys(KERNEL_DEFAULTS).map((name) => readFileSync(`/proc/sys/${name}`, "utf8")),
    written: ["/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers"].map((path) =>
      existsSync(path),
    ),
    bridges: readdirSync("/sys/class/net"),
  };
}

/** Folders and control groups of beds that a process made. */
const of = (pid: number | undefined) =>
  [...readdirSync(tmpdir()), ...controlGroups()].filter((name) => name.startsWith(`rayshift-bed-${pid}-`));

describe("Kubernetes test bed: a node", function () {
  this.timeout(BUILD_MS);
  let asItWas: Record<string, unknown>;

  before(async function () {
    const why = whyNoNode();
    if (why !== undefined) {
      process.stderr.write(`${why}\n`);
      this.skip();
    }
    await prepareBeds(["full"]);
    asItWas = host();
  });

  describe("that runs", () => {
    let bed: Bed;
    before(async () => {
      bed = await startBed("full");
    });
    after(() => bed?.stop());

    it("runs pods of Ray's image, which find services by name", async () => {
      const namespace = await bed.namespace();
      const pods = `/api/v1/namespaces/${namespace}/pods`;
      const ask = `import socket, ray
open("/dev/termination-log", "w").write(f"{ray.__version__} {socket.gethostbyname('kubernetes.default.svc')}")`;
      await bed.api.create(pods, {
        metadata: { name: "asks" },
        spec: {
          restartPolicy: "Never",
          containers: [
            {
              name: "asks",
              image: RAY_IMAGE,
              command: ["python", "-c", ask],
              resources: { limits: { "nvidia.com/gpu": "1" } },
            },
          ],
        },
      });
      const said = await until("what the pod says", 120, async () => {
        const { status } = await bed.api.get(`${pods}/asks`);
        return status.containerStatuses?.[0]?.state?.terminated?.message as string | undefined;
      });
      assert.equal(said, `${RAY_IMAGE.split(":")[1]} 10.96.0.1`);
    });

    it("leaves nothing of it on the host", async () => {
      const held = readlinkSync(`/proc/${bed.pids()[0]}/ns/net`);
      assert.ok(of(process.pid).length >= 2, "a folder and a control group");
      await bed.stop();
      assert.deepEqual(inNamespace(held), []);
      assert.deepEqual(of(process.pid), []);
      assert.deepEqual(host(), asItWas);
    });
  });

  /** A bed of another process, as soon as its node has a control group. */
  const startedElsewhere = async (): Promise<ChildProcess> => {
    const child = spawn(process.execPath, [main, "full"], { stdio: "ignore" });
    await until("its node", 60, () => controlGroups().some((name) => of(child.pid).includes(name)) || undefined);
    return child;
  };

  it("leaves nothing when it is interrupted while it starts", async () => {
    const child = await startedElsewhere();
    child.kill("SIGINT");
    await once(child, "exit");
    assert.deepEqual(of(child.pid), []);
    assert.deepEqual(host(), asItWas);
  });

  it("ends with a process that is killed, and the next bed removes what it left", async () => {
    const child = await startedElsewhere();
    const kubeconfigs = () => of(child.pid).map((name) => join(tmpdir(), name, "kubeconfig"));
    await until("its API server", 60, () => kubeconfigs().some((file) => existsSync(file)) || undefined);
    child.kill("SIGKILL");
    await once(child, "exit");
    await until("the end of its mounts and programs", 30, () => mentions(of(child.pid)[0]!).length === 0 || undefined);
    assert.deepEqual(host(), asItWas);
    assert.notDeepEqual(of(child.pid), []);
    const next = await startBed("api");
    assert.deepEqual(of(child.pid), []);
    assert.ok(existsSync(dirname(next.kubeconfig)));
    await next.stop();
  });
});

/** Processes with the text in their command line. */
function mentions(text: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
      } catch {
        return false;
      }
    });
}
