import { parse } from "yaml";
import type { OperationContext } from "../../../provider/resource";
import type { RayServiceAddress } from "../../../provider/serve/dashboard";
import type { HttpRouteAddress } from "../../../provider/serve/guards";
import { type AnyObject, type FakeApiServer, statusText } from "../../fake/kubernetes/apiServer";
import { FakeServe } from "../../fake/serve";

const RAY = "/apis/ray.io/v1/namespaces/models";
const TOKEN = "the token of Ray";

/** One RayService on a fake API server, with what KubeRay would make of it and a fake of Serve behind its head. */
export class FakeRayService {
  readonly address: RayServiceAddress;
  /** Off: KubeRay's operator does nothing. */
  operator = true;
  /** Off: the head does not answer. */
  head = true;
  readonly serve = new FakeServe({
    head: {},
    groups: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, minNodes: 0, maxNodes: 8 }],
  });

  constructor(
    private readonly api: FakeApiServer,
    readonly version: string,
  ) {
    const name = `sample-service-${version}`;
    this.address = { kubeconfig: api.kubeconfig, namespace: "models", rayService: name };
    api.set(`${RAY}/rayservices/${name}`, { kind: "RayService", spec: {} });
    const labels = { "ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": name };
    api.set(`${RAY}/rayclusters/${name}-abcde`, {
      metadata: { labels },
      spec: { authOptions: { mode: "token" } },
      status: { head: { serviceName: `${name}-abcde-head-svc` } },
    });
    api.set(`/api/v1/namespaces/models/secrets/${name}-abcde`, {
      data: { auth_token: Buffer.from(TOKEN).toString("base64") },
    });
  }

  /** What the operator does of a RayService that was written. */
  reconcile(object: AnyObject): void {
    const { serveConfigV2 } = object.spec;
    if (!this.operator || serveConfigV2 === undefined) return;
    this.serve.put(parse(serveConfigV2));
  }

  forward(path: string, headers: Record<string, unknown>) {
    if (!this.head) return { status: 503, body: statusText("no endpoints available for service") };
    if (headers["x-ray-authorization"] !== `Bearer ${TOKEN}`) return { status: 401, body: "Unauthorized" };
    if (path === "/api/v0/nodes") return { status: 200, body: JSON.stringify(this.serve.nodesDocument()) };
    return { status: 200, body: JSON.stringify(this.serve.details()) };
  }

  remove(): void {
    this.head = false;
    for (const path of [...this.api.objects.keys()]) {
      if (path.includes(this.address.rayService)) this.api.objects.delete(path);
    }
  }
}

/** The RayServices of versions; the API server forwards to their heads. */
export function rayServices(api: FakeApiServer, ...versions: string[]): FakeRayService[] {
  const services = versions.map((version) => new FakeRayService(api, version));
  api.onWrite = (path, object) => {
    services.find(({ address }) => path.endsWith(`/rayservices/${address.rayService}`))?.reconcile(object);
  };
  api.forward = (path, to, request) => {
    const service = services.find(({ address }) => to === `${address.rayService}-abcde-head-svc:dashboard`);
    return service?.forward(path, request.headers) ?? { status: 404, body: statusText(`services "${to}" not found`) };
  };
  return services;
}

export const routePath = "/apis/gateway.networking.k8s.io/v1/namespaces/models/httproutes/sample-service";

export function routeAddress(api: FakeApiServer): HttpRouteAddress {
  return { kubeconfig: api.kubeconfig, namespace: "models", name: "sample-service", service: "sample-service" };
}

export function context(told: string[] = []): OperationContext {
  return {
    urn: "urn",
    name: "cluster-v1",
    signal: new AbortController().signal,
    progress: (message) => told.push(message),
    warn: (message) => told.push(message),
  };
}

/** A config with one replica on a GPU. */
export const config = {
  applications: [
    { name: "default", import_path: "versions:app", deployments: [{ name: "Versions", num_replicas: 1 }] },
  ],
};
