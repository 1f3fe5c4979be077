import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type ApiServer, ask, getObject, type KubernetesObject, listObjects } from "../../../provider/kubernetes/api";
import type { HttpRoute } from "../../../provider/kubernetes/httpRoute";

/** Name of the class that this fake takes care of. */
export const fakeClass = "fake";

interface Rule {
  matches?: Array<{ headers?: Array<{ name: string; value: string }> }>;
  backendRefs?: Array<{ name: string; port: number; weight?: number }>;
  filters?: Array<{ type: string; requestRedirect?: { hostname: string; statusCode: number } }>;
}

/** What the data plane works by: a route as it was when it was taken over. */
interface Plane {
  generation: number;
  rules: Rule[];
  /** Values of a header that let a request in; undefined: none is asked for. */
  tokens: string[] | undefined;
}

interface SecurityPolicy extends KubernetesObject {
  spec: {
    targetRefs: Array<{ name: string }>;
    apiKeyAuth: { credentialRefs: Array<{ name: string }>; extractFrom: Array<{ headers: string[] }> };
  };
}

const POLL_MS = 200;
const GROUP = "/apis/gateway.networking.k8s.io/v1";

/**
 * A fake of an implementation of the Gateway API for one namespace: it accepts gateways and routes of its class, and serves
 * the routes on the loopback by exact headers, weights and Envoy Gateway's token, with requests passed on by the API server.
 *
 * It does not prove that Envoy Gateway takes the objects, nor how Envoy balances, drains or repeats requests.
 */
export class FakeGateway {
  /** A route is taken over this long after it was written. */
  delayMs = 0;
  /** Requests that were passed on, by service. */
  readonly counts: Record<string, number> = {};
  private plane: Plane | undefined;
  /** Weighted round robin: what each backend is owed. */
  private owed: Record<string, number> = {};
  private readonly ended = new AbortController();
  private readonly server: Server;
  private following: Promise<void> = Promise.resolve();
  private seen = { generation: 0, at: 0 };

  private constructor(
    private readonly api: ApiServer,
    private readonly namespace: string,
  ) {
    this.server = createServer(
      (request, response) => void this.answer(request, response).catch(() => response.destroy()),
    );
  }

  /** Starts it, and makes its class where there is none. */
  static async start(api: ApiServer, namespace: string): Promise<FakeGateway> {
    const fake = new FakeGateway(api, namespace);
    await new Promise<void>((done) => fake.server.listen(0, "127.0.0.1", done));
    const object = {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "GatewayClass",
      metadata: { name: fakeClass },
      spec: { controllerName: "rayshift.io/fake" },
    };
    await ask(api, `${GROUP}/gatewayclasses/${fakeClass}?fieldManager=fake&force=true`, {
      method: "PATCH",
      headers: { "content-type": "application/apply-patch+yaml" },
      body: JSON.stringify(object),
    });
    fake.following = fake.follow();
    return fake;
  }

  /** On the loopback; to be the port of the gateway's listener. */
  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.ended.abort();
    await this.following;
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  private async follow(): Promise<void> {
    while (!this.ended.signal.aborted) {
      await this.look().catch(() => undefined);
      await sleep(POLL_MS, undefined, { signal: this.ended.signal }).catch(() => undefined);
    }
  }

  private async look(): Promise<void> {
    const gateways = await listObjects<KubernetesObject & { spec: { gatewayClassName: string } }>(
      this.api,
      `${GROUP}/namespaces/${this.namespace}/gateways`,
    );
    const own = gateways.filter(({ spec }) => spec.gatewayClassName === fakeClass);
    for (const { metadata } of own) {
      const addresses = [{ type: "IPAddress", value: "127.0.0.1" }];
      const status = { addresses, conditions: conditions(metadata.generation ?? 0, ["Accepted", "Programmed"]) };
      await this.writeStatus(`gateways/${metadata.name}`, status);
    }
    const routes = await listObjects<HttpRoute>(this.api, `${GROUP}/namespaces/${this.namespace}/httproutes`);
    const [route] = routes;
    if (route === undefined || own.length === 0) {
      this.plane = undefined;
      return;
    }
    const generation = route.metadata.generation ?? 0;
    if (generation !== this.seen.generation) this.seen = { generation, at: Date.now() };
    const missing = await this.missingServices(route);
    const resolved = missing.length === 0;
    const parent = {
      parentRef: (route.spec as unknown as { parentRefs: object[] }).parentRefs[0],
      controllerName: "rayshift.io/fake",
      conditions: [
        ...conditions(generation, ["Accepted"]),
        ...conditions(generation, ["ResolvedRefs"], resolved, `no service ${missing.join(", ")}`),
      ],
    };
    await this.writeStatus(`httproutes/${route.metadata.name}`, { parents: [parent] });
    if (Date.now() - this.seen.at >= this.delayMs) {
      this.plane = { generation, rules: (route.spec.rules ?? []) as Rule[], tokens: await this.tokensOf(route) };
    }
  }

  private async missingServices({ spec }: HttpRoute): Promise<string[]> {
    const names = [
      ...new Set((spec.rules ?? []).flatMap(({ backendRefs = [] }) => backendRefs.map(({ name }) => name))),
    ];
    const found = await Promise.all(
      names.map((name) => getObject(this.api, `/api/v1/namespaces/${this.namespace}/services/${name}`)),
    );
    return names.filter((_name, index) => found[index] === undefined);
  }

  private async tokensOf({ metadata }: HttpRoute): Promise<string[] | undefined> {
    const path = `/apis/gateway.envoyproxy.io/v1alpha1/namespaces/${this.namespace}/securitypolicies`;
    const policies = await listObjects<SecurityPolicy>(this.api, path);
    const policy = policies.find(({ spec }) => spec.targetRefs.some(({ name }) => name === metadata.name));
    if (policy === undefined) return undefined;
    const [ref] = policy.spec.apiKeyAuth.credentialRefs;
    const secret = await getObject<KubernetesObject & { data?: Record<string, string> }>(
      this.api,
      `/api/v1/namespaces/${this.namespace}/secrets/${ref?.name}`,
    );
    return Object.values(secret?.data ?? {}).map((value) => Buffer.from(value, "base64").toString());
  }

  private async writeStatus(object: string, status: object): Promise<void> {
    await ask(this.api, `${GROUP}/namespaces/${this.namespace}/${object}/status`, {
      method: "PATCH",
      headers: { "content-type": "application/merge-patch+json" },
      body: JSON.stringify({ status }),
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const reply = (status: number, body = "", headers: Record<string, string> = {}) => {
      response.writeHead(status, headers);
      response.end(body);
    };
    const { plane } = this;
    if (plane === undefined) return reply(404, "no route");
    const { authorization, "x-rayshift-authorization": own } = request.headers;
    if (plane.tokens !== undefined && ![authorization, own].some((value) => plane.tokens?.includes(String(value)))) {
      return reply(401, "no token");
    }
    const rule = ruleFor(plane.rules, request.headers);
    const [filter] = rule?.filters ?? [];
    if (filter?.requestRedirect !== undefined) {
      const { hostname, statusCode } = filter.requestRedirect;
      return reply(statusCode, "", { location: `http://${hostname}/` });
    }
    if (filter !== undefined || rule === undefined) return reply(404, "This service has no canary version now.\n");
    const service = this.choose(rule);
    if (service === undefined) return reply(500, "no backend");
    this.counts[service] = (this.counts[service] ?? 0) + 1;
    const path = `/api/v1/namespaces/${this.namespace}/services/${service}:8000/proxy${request.url}`;
    const { status, text } = await ask(this.api, path, { timeoutMs: 60_000, signal: this.ended.signal });
    reply(status, text);
  }

  /** The backend that is owed most by its weight. */
  private choose({ backendRefs = [] }: Rule): string | undefined {
    const refs = backendRefs.filter(({ weight = 1 }) => weight > 0);
    const total = refs.reduce((sum, { weight = 1 }) => sum + weight, 0);
    for (const { name, weight = 1 } of refs) this.owed[name] = (this.owed[name] ?? 0) + weight / total;
    const [best] = [...refs].sort((a, b) => (this.owed[b.name] ?? 0) - (this.owed[a.name] ?? 0));
    if (best !== undefined) this.owed[best.name] = (this.owed[best.name] ?? 0) - 1;
    return best?.name;
  }
}

/** The rule with the most headers, all of which the request has. */
function ruleFor(rules: Rule[], headers: IncomingMessage["headers"]): Rule | undefined {
  const wanted = (rule: Rule) => rule.matches?.[0]?.headers ?? [];
  return rules
    .filter((rule) => wanted(rule).every(({ name, value }) => headers[name.toLowerCase()] === value))
    .sort((a, b) => wanted(b).length - wanted(a).length)[0];
}

function conditions(observedGeneration: number, types: string[], good = true, message = "") {
  return types.map((type) => ({
    type,
    status: good ? "True" : "False",
    reason: good ? type : "BackendNotFound",
    message: good ? "" : message,
    observedGeneration,
    lastTransitionTime: new Date().toISOString().replace(/\.\d+/, ""),
  }));
}
