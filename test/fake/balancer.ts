import { readFileSync } from "node:fs";
import { FRONTEND, PROXIES, portOf } from "../../provider/local/haproxyConfig";

interface Server {
  proxy: string;
  version: string;
  address: string;
  /** As the balancing uses it. */
  weight: number;
  /** Taken out by somebody. */
  state: "ready" | "maint" | "drain";
  /** From when on its address has answered the health check; undefined while it does not. */
  goodSince: number | undefined;
  checks: boolean;
  up: boolean;
  checked: boolean;
  /** Requests that were under way when its weight went to 0 are done at this time. */
  busyUntil: number;
  /** Requests that it is given at a time. */
  limit: number;
}

/** What a load balancer stands in. */
export interface BalancerSurroundings {
  now(): number;
  /** Whether GET /-/healthz at this address is answered with 200. */
  healthy(address: string): boolean;
  /** How long the requests under way take, in ms. */
  lastRequestMs(): number;
}

const checkMs = 250;
const remembered = 10;
const rises = 2;

/**
 * A fake of one HAProxy: the commands of its admin socket that the project sends, and its answers in the words that
 * HAProxy 2.8 was seen to use. It can lie: accept weights and not apply them. It does not prove that HAProxy takes these
 * commands, routes by its weights, or keeps connections.
 */
export class FakeBalancer {
  lies = false;
  /** What somebody was told of the weights, and when, in ms; the last few times. */
  told: { at: number; weights: Record<string, number> }[] = [];
  private readonly servers: Server[] = [];
  private readonly entries = new Map<string, string[]>();
  private readonly prepared = new Map<string, string[]>();
  private versions = 0;
  private lookedAt: number;

  constructor(
    readonly directory: string,
    config: string,
    private readonly surroundings: BalancerSurroundings,
  ) {
    this.port = portOf(config) ?? 0;
    this.lookedAt = surroundings.now();
    let proxy = "";
    for (const line of config.split("\n")) {
      proxy = /^backend (\S+)/.exec(line)?.[1] ?? proxy;
      const [, version, address, weight] = /^ {2}server (\S+) (\S+) weight (\d+)/.exec(line) ?? [];
      if (version === undefined || address === undefined) continue;
      this.servers.push({ ...fresh(proxy, version, address), weight: Number(weight), state: "ready", checks: true });
    }
    for (const file of ["roles.map", "access.lst", "tokens.lst"].map((name) => `${directory}/${name}`)) {
      this.entries.set(file, readFileSync(file, "utf8").split("\n").filter(Boolean));
    }
  }

  readonly port: number;

  /** Weights as the balancing uses them, of the servers that take traffic. */
  weights(): Record<string, number> {
    const taking = this.servers.filter(({ proxy }) => proxy === PROXIES[0]);
    return Object.fromEntries(taking.map((server) => [server.version, server.state === "ready" ? server.weight : 0]));
  }

  /** Requests under way at an address. */
  requestsAt(address: string): number {
    return this.servers
      .filter((server) => server.address === address)
      .reduce((sum, each) => sum + this.sessions(each), 0);
  }

  addressOf(version: string): string | undefined {
    return this.servers.find((server) => server.proxy === PROXIES[0] && server.version === version)?.address;
  }

  /** Somebody's change by hand, which no lie keeps from taking effect. */
  setByHand(weights: Record<string, number>): void {
    for (const server of this.servers) {
      if (server.proxy === PROXIES[0] && server.version in weights) this.weigh(server, weights[server.version]!);
    }
  }

  /** Answers one line of the admin socket. */
  answer(line: string): string {
    this.check();
    return `${line
      .split(";")
      .map((command) => this.obey(command.trim()))
      .filter((answer) => answer !== "")
      .join("\n")}\n`;
  }

  /** Whether a line changes anything. */
  static changes(line: string): boolean {
    return (
      !line.startsWith("show ") &&
      !line.startsWith("prepare ") &&
      !line.startsWith("add map") &&
      !line.startsWith("add acl")
    );
  }

  private obey(command: string): string {
    const words = command.split(" ");
    const [verb = "", what = "", name = ""] = words;
    if (verb === "show" && what === "stat") {
      if (name === FRONTEND) return this.frontend();
      this.told = [{ at: this.surroundings.now(), weights: this.weights() }, ...this.told].slice(0, remembered);
      return this.table();
    }
    if (what === "map" || what === "acl") return this.patterns(verb, words.slice(2), command);
    if (verb === "add") return this.add(name, words[3] ?? "");
    if (verb === "shutdown" && what === "frontend") {
      for (const server of this.servers) this.weigh(server, 0);
      return "";
    }
    const far = verb === "shutdown" || what === "maxconn";
    const [proxy, version] = (far ? (words[3] ?? "") : name).split("/");
    const server = this.servers.find((each) => each.proxy === proxy && each.version === version);
    if (server === undefined) return "No such server.";
    if (what === "maxconn") server.limit = Number(words[4]);
    else if (verb === "enable") server.checks = true;
    else if (verb === "shutdown") server.busyUntil = 0;
    else if (verb === "del") return this.remove(server);
    else return this.set(server, words.slice(3));
    return "";
  }

  private set(server: Server, [option = "", value = "", , port = ""]: string[]): string {
    if (option === "weight") {
      if (!this.lies) this.weigh(server, Number(value));
    } else if (option === "state") server.state = value as Server["state"];
    else if (option === "addr") {
      server.address = `${value}:${port}`;
      return `IP changed from 'x' to '${value}', port changed from 'x' to '${port}' by 'stats socket command'`;
    }
    return "";
  }

  private weigh(server: Server, weight: number): void {
    if (server.weight > 0 && weight === 0)
      server.busyUntil = this.surroundings.now() + this.surroundings.lastRequestMs();
    server.weight = weight;
  }

  private add(name: string, address: string): string {
    const [proxy = "", version = ""] = name.split("/");
    if (this.servers.some((each) => each.proxy === proxy && each.version === version)) {
      return "Already exists a server with the same name in backend.";
    }
    this.servers.push(fresh(proxy, version, address));
    return "New server registered.";
  }

  private remove(server: Server): string {
    if (server.state !== "maint") return "Only servers in maintenance mode can be deleted.";
    if (this.sessions(server) > 0) return "Server still has connections attached to it, cannot remove it.";
    this.servers.splice(this.servers.indexOf(server), 1);
    return "Server deleted.";
  }

  private patterns(verb: string, [first = "", second = "", ...rest]: string[], command: string): string {
    if (verb === "show") return (this.entries.get(first) ?? []).map((entry, index) => `0x${index} ${entry}`).join("\n");
    if (verb === "prepare") {
      this.prepared.set(`@${++this.versions}`, []);
      return `New version created: ${this.versions}`;
    }
    const prepared = this.prepared.get(first);
    if (prepared === undefined) return `no version ${first} for "${command}"`;
    if (verb === "add") prepared.push(rest.join(" "));
    else this.entries.set(second, prepared);
    return "";
  }

  private sessions({ weight, state, busyUntil }: Server): number {
    const taking = weight > 0 && state === "ready";
    return taking ? 2 : busyUntil > this.surroundings.now() ? 1 : 0;
  }

  /** Works through the health checks since the last look. */
  private check(): void {
    const now = this.surroundings.now();
    if (now - this.lookedAt > checkMs * 20) this.lookedAt = now - checkMs * 20;
    for (; this.lookedAt + checkMs <= now; this.lookedAt += checkMs) {
      for (const server of this.servers) {
        if (!server.checks) continue;
        const good = this.surroundings.healthy(server.address);
        server.goodSince = good ? (server.goodSince ?? this.lookedAt) : undefined;
        server.checked = good;
        server.up = server.goodSince !== undefined && this.lookedAt - server.goodSince >= (rises - 1) * checkMs;
      }
    }
  }

  private frontend(): string {
    return `# pxname,svname,status\n${FRONTEND},FRONTEND,OPEN,`;
  }

  private table(): string {
    const rows = this.servers.map((server) => {
      const status =
        server.state === "maint" ? "MAINT" : server.state === "drain" ? "DRAIN" : server.up ? "UP" : "DOWN";
      const check = server.checked ? "L7OK" : "L4CON";
      return [server.proxy, server.version, status, server.weight, server.weight, server.address, check]
        .concat([this.sessions(server), server.limit, 0, 0, 0, 0, 0])
        .join(",");
    });
    return [
      "# pxname,svname,status,weight,uweight,addr,check_status,scur,slim,qcur,stot,hrsp_5xx,econ,eresp",
      ...rows,
    ].join("\n");
  }
}

function fresh(proxy: string, version: string, address: string): Server {
  return {
    proxy,
    version,
    address,
    weight: 0,
    state: "maint",
    goodSince: undefined,
    checks: false,
    up: false,
    checked: false,
    busyUntil: 0,
    limit: 0,
  };
}
