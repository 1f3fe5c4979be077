import { type IncomingMessage, request as requestHttp, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { FakeGroup } from "../nodes";
import { type AlbAction, type AlbRule, albAction, chosenGroup } from "./alb";
import { awsApi, type FakeInstance } from "./awsApi";
import { FakeCloudHead, listen } from "./head";
import { type Bag, type CloudObject, CloudObjects } from "./objects";

const ROUND_MS = 50;
const SERVE_PORT = 8000;
const GROUP = "aws:autoscaling/group:Group";
const RULE = "aws:lb/listenerRule:ListenerRule";

interface Autoscaling {
  cluster_name: string;
  idle_timeout_minutes: number;
  available_node_types: Record<string, { resources: Record<string, number>; min_workers: number; max_workers: number }>;
}

/**
 * What runs in the fake AWS account that {@link CloudObjects} keeps: a fake of Ray in the head of each auto scaling group,
 * a load balancer that goes by the listener's rules, and the calls to EC2 and Elastic Load Balancing that rayshift makes
 * itself. A worker outlives its head, as a machine does.
 *
 * It does not prove that a machine starts, that its role lets it do what it does, nor how fast a rule takes effect.
 */
export class FakeAws {
  readonly objects: CloudObjects;
  readonly instances = new Map<string, FakeInstance>();
  private readonly heads = new Map<string, FakeCloudHead>();
  private readonly fronts = new Map<string, Server>();
  private rules: AlbRule[] = [];
  private defaults: AlbAction[] = [];
  /** Hosts of the heads, by target group. */
  private targets = new Map<string, string>();
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

  static async start(folder: string): Promise<FakeAws> {
    const started: { cloud?: FakeAws } = {};
    const calls = {
      instances: () => [...(started.cloud?.instances.values() ?? [])],
      terminate: (ids: string[]) => started.cloud?.terminate(ids),
      modifyRule: (arn: string, actions: Map<string, string>) => started.cloud?.modifyRule(arn, actions),
    };
    const api = await listen("127.0.0.1", 0, awsApi(calls));
    started.cloud = new FakeAws(folder, api);
    return started.cloud;
  }

  /** For whoever calls AWS. */
  get environment(): NodeJS.ProcessEnv {
    return {
      RAYSHIFT_FAKE_CLOUD: this.objects.folder,
      AWS_ENDPOINT_URL: `http://127.0.0.1:${(this.api.address() as AddressInfo).port}`,
      AWS_ACCESS_KEY_ID: "fake",
      AWS_SECRET_ACCESS_KEY: "fake",
    };
  }

  /** Machines that cost something. */
  running(): FakeInstance[] {
    return [...this.instances.values()].filter(({ state }) => state === "running");
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
    const groups = all.filter(({ type }) => type === GROUP);
    for (const [name, head] of this.heads) {
      if (groups.some(({ id }) => id === name)) continue;
      this.heads.delete(name);
      await head.stop();
      this.terminate([`i-head-${name}`]);
    }
    for (const group of groups) if (!this.heads.has(group.id)) await this.boot(group, all);
    for (const [name, { serve }] of this.heads) this.followWorkers(name, serve.workers());
    this.targets = new Map(
      groups.flatMap(({ id, inputs }) =>
        (inputs.targetGroupArns as string[]).map((arn) => [arn, this.heads.get(id)?.host ?? ""] as const),
      ),
    );
    this.rules = all.filter(({ type }) => type === RULE).map(({ inputs }) => inputs as unknown as AlbRule);
    await this.followFronts(all);
  }

  /** What the head's start script would come to. */
  private async boot(group: CloudObject, all: readonly CloudObject[]): Promise<void> {
    const template = all.find(({ id }) => id === (group.inputs.launchTemplate as Bag).id);
    const script = Buffer.from(String(template?.inputs.userData), "base64").toString();
    const [, text = ""] = /autoscaling\.json <<'RAYSHIFT_FILE'\n(.*?)\nRAYSHIFT_FILE/s.exec(script) ?? [];
    const config = JSON.parse(text) as Autoscaling;
    const secret = all.find(({ type, inputs }) => {
      return type.endsWith(":SecretVersion") && script.includes(String(inputs.secretId));
    });
    const record = all.find(({ type, inputs }) => type.endsWith(":Record") && script.includes(String(inputs.name)));
    const [token = ""] = String(secret?.inputs.secretString).split("\n");
    const groups = Object.entries(config.available_node_types)
      .filter(([name]) => name !== "head")
      .map(([name, { resources, min_workers: minNodes, max_workers: maxNodes }]): FakeGroup => {
        return { name, resources, minNodes, maxNodes };
      });
    const head = await FakeCloudHead.start(String(record?.outputs.fqdn), token, {
      head: { CPU: 0 },
      groups,
      times: { idleMs: config.idle_timeout_minutes * 60_000 },
    });
    this.heads.set(group.id, head);
    this.add(`i-head-${group.id}`, config.cluster_name, "head");
  }

  private followWorkers(cluster: string, alive: readonly string[]): void {
    // Each fake of Ray counts its nodes by itself.
    const ids = alive.map((node) => `i-${cluster}-${node}`);
    for (const id of ids) if (!this.instances.has(id)) this.add(id, cluster, "worker");
    for (const { id, tags } of this.running()) {
      const worker = tags["ray-node-type"] === "worker" && tags["ray-cluster-name"] === cluster;
      if (worker && !ids.includes(id)) this.terminate([id]);
    }
  }

  private add(id: string, cluster: string, nodeType: string): void {
    this.instances.set(id, {
      id,
      state: "running",
      tags: { "ray-cluster-name": cluster, "ray-node-type": nodeType },
    });
  }

  private terminate(ids: readonly string[]): void {
    for (const id of ids) {
      const instance = this.instances.get(id);
      if (instance !== undefined) instance.state = "terminated";
    }
  }

  private modifyRule(arn: string, action: Map<string, string>): void {
    const rule = this.objects.get(RULE, arn);
    if (rule === undefined) throw new Error(`RuleNotFound: ${arn}`);
    const group = (index: number) => ({
      arn: action.get(`ForwardConfig.TargetGroups.member.${index}.TargetGroupArn`) ?? "",
      weight: Number(action.get(`ForwardConfig.TargetGroups.member.${index}.Weight`)),
    });
    const actions: AlbAction[] =
      action.get("Type") === "forward"
        ? [{ type: "forward", forward: { targetGroups: [group(1), group(2)] } }]
        : [
            {
              type: "fixed-response",
              fixedResponse: {
                statusCode: action.get("FixedResponseConfig.StatusCode") ?? "",
                contentType: action.get("FixedResponseConfig.ContentType") ?? "",
                messageBody: action.get("FixedResponseConfig.MessageBody") ?? "",
              },
            },
          ];
    const inputs = { ...rule.inputs, actions };
    this.objects.put({ ...rule, inputs, outputs: { ...rule.outputs, actions } }, "update");
  }

  private async followFronts(all: readonly CloudObject[]): Promise<void> {
    const listeners = all.filter(({ type }) => type === "aws:lb/listener:Listener");
    this.defaults = (listeners[0]?.inputs.defaultActions ?? []) as AlbAction[];
    for (const { id, inputs } of listeners) {
      const balancer = all.find((each) => each.id === inputs.loadBalancerArn);
      if (this.fronts.has(id) || balancer === undefined) continue;
      const front = await listen(String(balancer.outputs.dnsName), Number(inputs.port), (request, response) =>
        this.answer(request, response),
      );
      this.fronts.set(id, front);
    }
    for (const [id, server] of this.fronts) {
      if (listeners.some((listener) => listener.id === id)) continue;
      this.fronts.delete(id);
      server.closeAllConnections();
      server.close();
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url ?? "/", "http://fake").pathname;
    const action = albAction(this.rules, this.defaults, { path, headers: request.headers });
    if (action.fixedResponse !== undefined) {
      const { statusCode, contentType, messageBody } = action.fixedResponse;
      response.writeHead(Number(statusCode), { "content-type": contentType });
      response.end(messageBody);
      return;
    }
    const host = this.targets.get(chosenGroup(action, Math.random()) ?? "");
    if (host === undefined || host === "") {
      response.writeHead(503);
      response.end();
      return;
    }
    const { method, url, headers } = request;
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
}
