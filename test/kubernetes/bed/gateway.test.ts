import assert from "node:assert/strict";
import { readdirSync, readlinkSync } from "node:fs";
import type { KubernetesObject } from "./api";
import { type Bed, BUILD_MS, startBed } from "./bed";
import { ENVOY_PORT, GATEWAY_CLASS } from "./gateway";
import { inNamespace } from "./left";
import { httpRoute, rayService } from "./objects";
import { until } from "./until";

const SECONDS = 60;
const REQUESTS = 200;

describe("Kubernetes test bed: Envoy Gateway", function () {
  this.timeout(BUILD_MS);
  let bed: Bed;
  let namespace: string;
  let port: number;
  let sharedMemory: string[];
  before(async () => {
    sharedMemory = readdirSync("/dev/shm");
    bed = await startBed("gateway");
    await bed.addNode({ name: "gpu-0", cpus: 16, gpus: 4 });
    namespace = await bed.namespace();
    port = await bed.open(ENVOY_PORT);
  });
  after(() => bed?.stop());

  const path = (plural: string, name: string) =>
    `/apis/gateway.networking.k8s.io/v1/namespaces/${namespace}/${plural}/${name}`;
  const isTrue = (conditions: Array<Record<string, unknown>> | undefined, type: string, generation: unknown) =>
    conditions?.some((each) => each.type === type && each.status === "True" && each.observedGeneration === generation);
  const accepted = async () => {
    const { status, metadata } = await bed.api.get(path("httproutes", "service"));
    const conditions = status?.parents?.[0]?.conditions;
    return (["Accepted", "ResolvedRefs"].every((type) => isTrue(conditions, type, metadata.generation)) || undefined) as
      | true
      | undefined;
  };
  const answer = async (headers: Record<string, string> = {}): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers, signal: AbortSignal.timeout(10_000) });
    return response.ok ? ((await response.json()) as { version: string }).version : String(response.status);
  };
  const count = async () => {
    const counts: Record<string, number> = {};
    for (let sent = 0; sent < REQUESTS; sent++) {
      const version = await answer();
      counts[version] = (counts[version] ?? 0) + 1;
    }
    return counts;
  };

  const applyGateway = () =>
    bed.api.apply(path("gateways", "gateway"), {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "gateway" },
      spec: { gatewayClassName: GATEWAY_CLASS, listeners: [{ name: "http", port: 80, protocol: "HTTP" }] },
    });
  const answers = (is: boolean) =>
    until("an answer, or none", SECONDS, async () => {
      const given = await answer().catch(() => undefined);
      return (given !== undefined) === is || undefined;
    });

  it("runs a gateway, and says of its state as it does on any cluster", async () => {
    await applyGateway();
    await until("Programmed", SECONDS, async () => {
      const { status } = await bed.api.get(path("gateways", "gateway"));
      return isTrue(status?.conditions, "Programmed", 1) || undefined;
    });
  });

  it("splits requests between two services by weight, and changes the split without a failed one", async () => {
    for (const name of ["primary", "canary"]) {
      await bed.api.apply(`/apis/ray.io/v1/namespaces/${namespace}/rayservices/${name}`, rayService(name, 2));
    }
    await bed.api.apply(path("httproutes", "service"), httpRoute("service", "primary", "canary", 20));
    await until("the route", SECONDS, accepted);
    await until("both services", SECONDS, async () => {
      const versions = new Set(await Promise.all(Array.from({ length: 20 }, () => answer())));
      return (versions.has("primary") && versions.has("canary") && versions.size === 2) || undefined;
    });
    const { primary = 0, canary = 0 } = await count();
    assert.equal(primary + canary, REQUESTS);
    assert.ok(canary > REQUESTS * 0.1 && canary < REQUESTS * 0.3, `${canary} of ${REQUESTS}`);
    await bed.api.apply(path("httproutes", "service"), httpRoute("service", "primary", "canary", 0));
    await until("the route", SECONDS, accepted);
    const seen = new Set<string>();
    await until("no canary", SECONDS, async () => {
      const versions = await Promise.all(Array.from({ length: 20 }, () => answer()));
      for (const version of versions) seen.add(version);
      return versions.every((version) => version === "primary") || undefined;
    });
    assert.deepEqual(
      [...seen].filter((version) => !["primary", "canary"].includes(version)),
      [],
    );
  });

  it("sends a request with a header to the service that a route names for it", async () => {
    const route: KubernetesObject = httpRoute("service", "primary", "canary", 0);
    const matches = [{ headers: [{ name: "x-version", value: "canary" }] }];
    route.spec.rules.unshift({ matches, backendRefs: [{ name: "canary-serve-svc", port: 8000 }] });
    await bed.api.apply(path("httproutes", "service"), route);
    await until(
      "the header's route",
      SECONDS,
      async () => (await answer({ "x-version": "canary" })) === "canary" || undefined,
    );
    assert.equal(await answer(), "primary");
  });

  it("takes its Envoy down with the gateway", async () => {
    await bed.api.delete(path("gateways", "gateway"));
    await answers(false);
    await applyGateway();
    await answers(true);
  });

  it("leaves no Envoy behind, nor shared memory", async () => {
    const held = readlinkSync(`/proc/${bed.pids()[0]}/ns/net`);
    await bed.stop();
    await until("the end of all", SECONDS, () => inNamespace(held).length === 0 || undefined);
    assert.deepEqual(readdirSync("/dev/shm"), sharedMemory);
  });
});
