import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { askVersion } from "../answers";
import { root } from "../setup/support";
import { BUILD_MS } from "./bed/bed";
import { GATEWAY_NAMESPACE } from "./bed/gateway";
import { until } from "./bed/until";
import { applyExample, ServiceOnBed } from "./service";

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** Verbs that Pulumi's plugin needs to wait for objects, and its fake does not. */
const PLUGIN_WAITS = ["list", "watch"];
/**
 * Asked for only where KubeRay says why it does not do something, where an update first looks at every object, with another
 * gateway, or where the primary has to prove itself: not on a way back that ends the canary first.
 */
const RARE =
  /^(list \/events|get gateway\.envoyproxy\.io\/\w+|get networking\.k8s\.io\/\w+|(get|delete) \/configmaps|delete \/secrets|list discovery\.k8s\.io\/endpointslices(?! envoy-)) /;

describe("supervising a service on Kubernetes from within", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let service: ServiceOnBed;
  let breaks: string;
  before(async () => {
    service = await ServiceOnBed.start({ nodes: 2, gpusPerNode: 4, quota: { pods: 20, gpus: 8 }, named: false });
    breaks = join(service.project.folder, "breaks");
  });
  after(() => service?.stop());

  /** The command line as that account: what names no kubeconfig takes the environment's, as a pod takes its own. */
  const as = (kubeconfig: string, ...args: string[]) => {
    service.project.environment.KUBECONFIG = kubeconfig;
    return service.project.rayshift(...args);
  };

  it("leaves a canary that is well as it is, with the rights of the example", async () => {
    const file = service.project.serviceFile("v2", { environment: { BREAK: breaks } });
    for (const args of [
      ["-f", service.project.serviceFile("v1")],
      ["-f", file, "--canary-percent", "50", "--max-surge-percent", "50"],
    ]) {
      const { code, stderr } = await as(service.kubeconfig, "deploy", ...args);
      assert.equal(code, 0, stderr);
    }
    await applyExample(service.bed, service.namespace, "supervise.yaml");
    const own = await service.bed.kubeconfigFor(service.namespace, "rayshift-supervise");
    const { code, stderr, stdout } = await as(own, "supervise", "--once", "--json");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /"outcome":"held","version":"v2"/);
  });

  it("does not call a rollout held of which it can know nothing", async () => {
    const config = JSON.parse(
      readFileSync(await service.bed.kubeconfigFor(service.namespace, "rayshift-supervise"), "utf8"),
    );
    config.users[0].user.token = "expired";
    const refused = join(service.project.folder, "refused.kubeconfig");
    writeFileSync(refused, JSON.stringify(config), { mode: 0o600 });
    const { code, stdout, stderr } = await as(refused, "supervise", "--once", "--json");
    assert.equal(code, 1, stdout + stderr);
    assert.match(stdout + stderr, /does not accept the credentials .*Nothing is known of the service\./s);
    assert.doesNotMatch(stdout, /"outcome"/);
  });

  it("takes back one that becomes unhealthy, with no right but those of the example", async () => {
    writeFileSync(breaks, "");
    const own = await service.bed.kubeconfigFor(service.namespace, "rayshift-supervise");
    const { code, stderr } = await until("Ray's finding", 60, async () => {
      const ran = await as(own, "supervise", "--once");
      return ran.code === 0 ? undefined : ran;
    });
    assert.equal(code, 3, stderr);
    assert.deepEqual(await service.rayServices(), ["versions-v1"]);
    service.project.environment.KUBECONFIG = service.kubeconfig;
    assert.equal(await askVersion(service.url, await service.headers()), "v1");
  });

  it("needs the rights of the example", () => {
    const asked = service.bed.askedBy(service.namespace, "rayshift-supervise");
    const text = readFileSync(join(root, "examples", "kubernetes", "supervise.yaml"), "utf8");
    const roles = parseAllDocuments(text)
      .map((document) => document.toJS())
      .filter(({ kind }) => kind === "Role") as Array<{ metadata: { namespace: string }; rules: Rule[] }>;
    const rights = roles.flatMap(({ metadata, rules }) => {
      const namespace = metadata.namespace === "models" ? service.namespace : GATEWAY_NAMESPACE;
      return rules.flatMap(({ apiGroups, resources, verbs }) => {
        const waits = verbs.includes("watch") ? PLUGIN_WAITS : [];
        const own = verbs.filter((verb) => !waits.includes(verb));
        return apiGroups.flatMap((group) =>
          resources.flatMap((resource) => own.map((verb) => `${verb} ${group}/${resource} ${namespace}`)),
        );
      });
    });
    assert.ok(rights.length > 10);
    assert.deepEqual(
      rights.filter((right) => !asked.includes(right) && !RARE.test(right)),
      [],
      `asked for: ${asked.join(", ")}`,
    );
  });

  it("runs as a job every minute, and no two at a time", async () => {
    const path = `/apis/batch/v1/namespaces/${service.namespace}`;
    const { spec } = await service.bed.api.get(`${path}/cronjobs/rayshift-supervise`);
    assert.deepEqual([spec.schedule, spec.concurrencyPolicy], ["* * * * *", "Forbid"]);
    const [job] = await until("a job", 90, async () => {
      const jobs = await service.list(`${path}/jobs`);
      return jobs.length === 0 ? undefined : jobs;
    });
    assert.equal(job?.spec.template.spec.serviceAccountName, "rayshift-supervise");
  });
});
