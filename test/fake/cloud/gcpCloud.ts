import {
  type IncomingMessage,
  type RequestListener,
  request as requestHttp,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { UrlMap } from "../../../components/gcp/urlMap";
import type { FakeGroup } from "../nodes";
import { FakeCloudHead, listen } from "./head";
import { type Bag, type CloudObject, CloudObjects } from "./objects";
import { chosenService, urlMapAction } from "./urlMap";

const ROUND_MS = 50;
const SERVE_PORT = 8000;
/** From when on a URL map names a backend service until its health is known. */
const HEALTH_MS = 500;
/** That a machine takes to be gone. */
const STOPPING_MS = 500;

const INSTANCE = "gcp:compute/instance:Instance";
const MAP = "gcp:compute/uRLMap:URLMap";
const RULE = "gcp:compute/globalForwardingRule:GlobalForwardingRule";
/** A worker, which is Ray's and no resource of Pulumi's. */
export const WORKER = "worker";

interface Autoscaling {
  cluster_name: string;
  idle_timeout_minutes: number;
  available_node_types: Record<string, { resources: Record<string, number>; min_workers: number; max_workers: number }>;
}

/**
 * What runs in the fake project that {@link CloudObjects} keeps: a fake of Ray in each head, a load balancer that goes by
 * the URL maps, and the calls to Compute Engine that rayshift makes itself. A worker outlives its head, as a machine does,
 * and holds its subnetwork. A backend service gets requests some time after a map names it first, and not before.
 *
 * It does not prove that a machine starts, that its account may do what it does, nor how fast a URL map takes effect.
 */
export class FakeGcp {
  readonly objects: CloudObjects;
  /** Backend services that got a request before their health was known. */
  readonly tooEarly: string[] = [];
  private readonly heads = new Map<string, FakeCloudHead>();
  private readonly fronts = new Map<string, Server>();
  private readonly stopping = new Set<string>();
  private readonly namedSince = new Map<string, number>();
  private maps = new Map<string, UrlMap>();
  private hosts = new Map<string, string>();
  private round: Promise<void> = Promise.resolve();
  private readonly timer: NodeJS.Timeout;

  private constructor(
    folder: string,
    private readonly api: Server,
  ) {
    this.objects = new CloudObjects(folder);
    this.timer = setInterval(() => {
      this.round = this.round.then(() => this.follow());
    }, ROUND_MS);
  }

  static async start(folder: string): Promise<FakeGcp> {
    const started: { cloud?: FakeGcp } = {};
    const api = await listen("127.0.0.1", 0, (request, response) => started.cloud?.answerApi(request, response));
    started.cloud = new FakeGcp(folder, api);
    return started.cloud;
  }

  /** For whoever calls Google Cloud. */
  get environment(): NodeJS.ProcessEnv {
    return {
      RAYSHIFT_FAKE_CLOUD: this.objects.folder,
      GOOGLE_COMPUTE_CUSTOM_ENDPOINT: `http://127.0.0.1:${(this.api.address() as AddressInfo).port}/`,
      GOOGLE_OAUTH_ACCESS_TOKEN: "fake",
    };
  }

  /** Names of the workers that cost something. */
  workers(): string[] {
    return this.objects.ofType(WORKER).map(({ name }) => name);
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.round;
    for (const head of this.heads.values()) await head.stop();
    for (const server of [...this.fronts.values(), this.api]) {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  }

  /** Brings what runs to what the objects say. */
  private async follow(): Promise<void> {
    const all = this.objects.all();
    const instances = all.filter(({ type }) => type === INSTANCE);
    for (const [id, head] of this.heads) {
      if (instances.some((instance) => instance.id === id)) continue;
      this.heads.delete(id);
      await head.stop();
    }
    for (const instance of instances) {
      if (!this.heads.has(instance.id)) await this.boot(instance, all);
      this.followWorkers(instance, this.heads.get(instance.id)?.serve.workers() ?? []);
    }
    this.followBackends(all);
    await this.followFronts(all);
  }

  /** What the head's startup script would come to. */
  private async boot(instance: CloudObject, all: readonly CloudObject[]): Promise<void> {
    const script = String(instance.inputs.metadataStartupScript);
    const [, text = ""] = /autoscaling\.json <<'RAYSHIFT_FILE'\n(.*?)\nRAYSHIFT_FILE/s.exec(script) ?? [];
    const config = JSON.parse(text) as Autoscaling;
    const secret = all.find(({ type, inputs }) => {
      return type.endsWith(":SecretVersion") && script.includes(`${String(inputs.secret)}/versions/`);
    });
    const groups = Object.entries(config.available_node_types)
      .filter(([name]) => name !== "head")
      .map(([name, { resources, min_workers: minNodes, max_workers: maxNodes }]): FakeGroup => {
        return { name, resources, minNodes, maxNodes };
      });
    const [nic] = instance.outputs.networkInterfaces as Array<{ networkIp: string }>;
    const head = await FakeCloudHead.start(nic?.networkIp ?? "", String(secret?.inputs.secretData), {
      head: { CPU: 0 },
      groups,
      times: { idleMs: config.idle_timeout_minutes * 60_000 },
    });
    this.heads.set(instance.id, head);
  }

  private followWorkers({ inputs }: CloudObject, alive: readonly string[]): void {
    const labels = inputs.labels as Record<string, string>;
    const cluster = String(labels["ray-cluster-name"]);
    const nameOf = (node: string) => `ray-${cluster}-worker-${node}-compute`;
    for (const node of alive) {
      if (this.objects.get(WORKER, nameOf(node)) !== undefined) continue;
      const own = {
        labels: { ...labels, "ray-node-type": "worker" },
        networkInterfaces: inputs.networkInterfaces,
      };
      const worker = { type: WORKER, name: nameOf(node), id: nameOf(node), inputs: own, outputs: {} };
      this.objects.put(worker, "create");
    }
    for (const worker of this.objects.ofType(WORKER)) {
      const mine = (worker.inputs.labels as Record<string, string>)["ray-cluster-name"] === cluster;
      if (mine && !alive.some((node) => nameOf(node) === worker.name)) this.objects.delete(worker);
    }
  }

  /** Where the requests of each backend service go, and since when a URL map names it. */
  private followBackends(all: readonly CloudObject[]): void {
    const of = (link: unknown) => all.find(({ id, outputs }) => id === link || outputs.selfLink === link);
    const services = all.filter(({ type }) => type.endsWith(":BackendService"));
    const maps = all.filter(({ type }) => type === MAP);
    this.maps = new Map(maps.map(({ id, inputs }) => [id, inputs as unknown as UrlMap]));
    this.hosts = new Map(
      services.flatMap(({ id, inputs }) => {
        const [backend] = (inputs.backends ?? []) as Bag[];
        const [link] = (of(backend?.group)?.inputs.instances ?? []) as string[];
        const host = this.heads.get(of(link)?.id ?? "")?.host;
        return host === undefined ? [] : [[id, host] as const];
      }),
    );
    for (const { id } of services) {
      if (!maps.some(({ inputs }) => JSON.stringify(inputs.pathMatchers).includes(`"${id}"`)))
        this.namedSince.delete(id);
      else if (!this.namedSince.has(id)) this.namedSince.set(id, Date.now());
    }
  }

  private async followFronts(all: readonly CloudObject[]): Promise<void> {
    const rules = all.filter(({ type }) => type === RULE);
    for (const { id, inputs } of rules) {
      if (this.fronts.has(id)) continue;
      const map = String(all.find((each) => each.id === inputs.target)?.inputs.urlMap);
      const front = await listen(String(inputs.ipAddress), Number(inputs.portRange), (request, response) =>
        this.answer(map, request, response),
      );
      this.fronts.set(id, front);
    }
    for (const [id, server] of this.fronts) {
      if (rules.some((rule) => rule.id === id)) continue;
      this.fronts.delete(id);
      server.closeAllConnections();
      server.close();
    }
  }

  private answer(mapId: string, request: IncomingMessage, response: ServerResponse): void {
    const end = (status: number, headers: Record<string, string> = {}) => response.writeHead(status, headers).end();
    const map = this.maps.get(mapId);
    if (map === undefined) return void end(404);
    const path = new URL(request.url ?? "/", "http://fake").pathname;
    const action = urlMapAction(map, { path, headers: request.headers });
    const { urlRedirect, routeAction, headerAction } = action;
    if (urlRedirect !== undefined) {
      return void end(302, { location: `http://${request.headers.host}${urlRedirect.pathRedirect}` });
    }
    const abort = routeAction?.faultInjectionPolicy?.abort;
    if (abort !== undefined) return void end(abort.httpStatus);
    const service = chosenService(action, Math.random()) ?? "";
    const host = this.hosts.get(service);
    if (Date.now() - (this.namedSince.get(service) ?? Date.now()) < HEALTH_MS) {
      if (path !== "/-/healthz") this.tooEarly.push(service);
      return void end(503);
    }
    if (host === undefined) return void end(503);
    const { method, url } = request;
    const removed = (headerAction?.requestHeadersToRemoves ?? []).map((name) => name.toLowerCase());
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !removed.includes(name)));
    const forwarded = requestHttp({ host, port: SERVE_PORT, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    forwarded.on("error", () => {
      if (!response.headersSent) response.writeHead(502);
      response.end();
    });
    request.pipe(forwarded);
  }

  /** Of Compute Engine's API: instances listed by a label and deleted, and whether an object is there. */
  private readonly answerApi: RequestListener = (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://fake");
    const reply = (status: number, body: object) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    if (request.headers.authorization !== "Bearer fake") {
      return reply(401, { error: { message: "Request had invalid authentication credentials." } });
    }
    const path = pathname.slice(1);
    if (path.endsWith("/instances")) {
      const [label = "", value] = (searchParams.get("filter") ?? "").split("=");
      const items = [...this.objects.ofType(INSTANCE), ...this.objects.ofType(WORKER)]
        .map(({ id, inputs }) => ({
          name: id.split("/").at(-1),
          status: this.stopping.has(id) ? "STOPPING" : "RUNNING",
          labels: inputs.labels as Record<string, string>,
        }))
        .filter(({ labels }) => labels[label.replace(/^labels\./, "")] === value);
      return reply(200, items.length === 0 ? {} : { items });
    }
    const worker = this.objects.get(WORKER, path.split("/").at(-1) ?? "");
    if (request.method === "DELETE" && worker !== undefined) {
      if (!this.stopping.has(worker.id)) {
        this.stopping.add(worker.id);
        setTimeout(() => {
          if (this.objects.get(WORKER, worker.id) !== undefined) this.objects.delete(worker);
        }, STOPPING_MS);
      }
      return reply(200, { status: "RUNNING" });
    }
    const there = worker !== undefined || this.objects.all().some(({ id }) => id === path);
    return there ? reply(200, {}) : reply(404, { error: { message: `The resource '${path}' was not found` } });
  };
}
