import { existsSync } from "node:fs";
import {
  type ApplicationConfig,
  applicationName,
  type DeploymentConfig,
  type ServeDeployment,
} from "../../provider/serve/config";
import { FakeDeployment, type FakeReplica, type Faults, type ReplicaTimes } from "./deployment";
import { type FakeGroup, FakeNodes, type Nodes, type NodeTimes, type Resources } from "./nodes";

/** What an application's code declares of one deployment. The first one takes the application's requests. */
export interface DeclaredDeployment extends DeploymentConfig {
  /** Of one replica. */
  resources: Resources;
}

/** What an import path leads to; throws what Python would say when it leads nowhere. */
export type Code = (importPath: string) => DeclaredDeployment[];

export interface FakeTimes extends NodeTimes, ReplicaTimes {
  /** ms until an application's code is imported. */
  buildMs: number;
}

/** The nodes that replicas run on, or what fakes of them are made from. */
export type NodesOption =
  | { nodes: Nodes }
  | {
      /** Of the head itself, where no replica runs in a service with worker groups. */
      head: Resources;
      groups: readonly FakeGroup[];
    };

export type FakeServeOptions = NodesOption & {
  code?: Code;
  times?: Partial<FakeTimes>;
  /** ms; a clock that only goes forward. */
  now?: () => number;
  /** How many replicas the load calls for; nothing is called for when absent. */
  load?: (application: string, deployment: string) => number | undefined;
  exists?: (file: string) => boolean;
};

/** A request that a replica has taken. */
export interface Taken {
  environment: Record<string, string>;
  replica: string;
  /** To be called when it is answered. */
  done(): void;
}

const TIMES: FakeTimes = {
  buildMs: 150,
  nodeStartMs: 150,
  idleMs: 500,
  replicaStartMs: 150,
  replicaStopMs: 100,
  healthMs: 300,
  slowMs: 1000,
};
/** How often the controller looks. */
const STEP_MS = 50;

/** The code of test/e2e/app. */
const VERSIONS: Code = (importPath) => {
  if (importPath === "versions:app") return [{ name: "Versions", resources: { CPU: 0, GPU: 1 } }];
  throw new Error(`ModuleNotFoundError: No module named '${importPath.split(":")[0]}'`);
};

interface Application {
  config: ApplicationConfig;
  codeVersion: string;
  status: string;
  message: string;
  declared: DeclaredDeployment[] | undefined;
  deployments: Map<string, FakeDeployment>;
  /** From when on the config is taken over; undefined: it is. */
  takenOverAt: number | undefined;
  /** Of the last PUT that had it, ms. */
  deployedAt: number;
}

/**
 * A fake of Ray Serve's controller and of the autoscaler of one cluster: what is PUT, and the documents that
 * GET /api/serve/applications/ and GET /api/v0/nodes answer with. Ray's rounding, its replacement of replicas by code
 * version, its counts of failed starts and its messages are as Ray 2.60 was seen to have them. An application's env_vars
 * break it as test/e2e/app/versions.py has them: FAIL, BREAK, DELAY.
 *
 * What happened since the last call is worked through at each call, so the clock alone decides what is seen.
 *
 * It does not prove that Ray takes a config or keeps to any time, how its scheduler places replicas or its router
 * balances, what its processes do when they are killed, nor anything of Python.
 */
export class FakeServe {
  private readonly applications = new Map<string, Application>();
  private readonly nodes: Nodes;
  private readonly times: FakeTimes;
  private readonly now: () => number;
  private readonly code: Code;
  private readonly load: NonNullable<FakeServeOptions["load"]>;
  private readonly exists: (file: string) => boolean;
  private targetCapacity: number | null = null;
  private at: number;
  private begun = false;

  constructor({ code, times, now, load, exists, ...where }: FakeServeOptions) {
    this.times = { ...TIMES, ...times };
    this.now = now ?? Date.now;
    this.code = code ?? VERSIONS;
    this.load = load ?? (() => undefined);
    this.exists = exists ?? existsSync;
    this.at = this.now();
    this.nodes = "nodes" in where ? where.nodes : new FakeNodes(where.head, where.groups, this.times, this.at);
  }

  /** PUT /api/serve/applications/ */
  put(config: ServeDeployment): void {
    this.catchUp();
    this.begun = true;
    this.targetCapacity = config.target_capacity;
    const names = config.applications.map(applicationName);
    for (const [name, { deployments }] of this.applications) {
      if (!names.includes(name)) for (const deployment of deployments.values()) deployment.remove();
    }
    for (const application of config.applications) this.take(application);
  }

  /** DELETE /api/serve/applications/ */
  delete(): void {
    this.catchUp();
    for (const { deployments } of this.applications.values()) {
      for (const deployment of deployments.values()) deployment.remove();
    }
    this.begun = false;
    this.targetCapacity = null;
    for (const application of this.applications.values()) application.status = "DELETING";
  }

  /** GET /api/serve/applications/ */
  details(): object {
    this.catchUp();
    const applications = [...this.applications].map(([name, { status, message, deployments, config, deployedAt }]) => {
      const details = [...deployments].map(([deployment, each]) => [deployment, each.details()] as const);
      return [
        name,
        {
          name,
          status,
          message,
          route_prefix: prefixOf(config),
          last_deployed_time_s: deployedAt / 1000,
          deployments: Object.fromEntries(details),
        },
      ] as const;
    });
    return { target_capacity: this.targetCapacity, applications: Object.fromEntries(applications) };
  }

  /** GET /api/v0/nodes */
  nodesDocument(): object {
    this.catchUp();
    const nodes = this.nodes.list().filter(({ state }) => state !== "STARTING");
    const result = nodes.map(({ id, group, state }) => ({
      node_id: id,
      is_head_node: group === undefined,
      state,
      labels: group === undefined ? {} : { "ray.io/node-group": group },
    }));
    return { result: true, msg: "", data: { result: { total: result.length, result } } };
  }

  /** Ids of the worker nodes that run. */
  workers(): string[] {
    this.catchUp();
    return this.nodes
      .list()
      .filter(({ group, state }) => group !== undefined && state === "ALIVE")
      .map(({ id }) => id);
  }

  /** Whether Serve's proxy runs: it answers /-/healthz whatever the applications do. */
  get serving(): boolean {
    return this.begun;
  }

  /**
   * Gives a request to the replica that has the fewest: undefined where none runs now (Ray keeps the request until one
   * does), "none" where no application has the path.
   */
  request(path: string): Taken | undefined | "none" {
    this.catchUp();
    const routed = [...this.applications.values()].filter(({ config }) => covers(prefixOf(config), path));
    const [application] = routed.sort((a, b) => (prefixOf(b.config)?.length ?? 0) - (prefixOf(a.config)?.length ?? 0));
    if (application === undefined) return "none";
    const ingress = application.deployments.get(application.declared?.[0]?.name ?? "");
    const [replica] = [...(ingress?.list() ?? [])]
      .filter(({ state }) => state === "RUNNING")
      .sort((a, b) => a.ongoing - b.ongoing);
    return replica && takenBy(replica);
  }

  private take(config: ApplicationConfig): void {
    const name = applicationName(config);
    const known = this.applications.get(name);
    const codeVersion = codeVersionOf(config);
    const rebuilt = known === undefined || known.codeVersion !== codeVersion || known.declared === undefined;
    this.applications.set(name, {
      config,
      codeVersion,
      status: "DEPLOYING",
      message: "",
      declared: rebuilt ? undefined : known.declared,
      deployments: known?.deployments ?? new Map(),
      takenOverAt: this.at + (rebuilt ? this.times.buildMs : 1),
      deployedAt: this.now(),
    });
  }

  /** Works through the rounds since the last call. */
  private catchUp(): void {
    for (const now = this.now(); this.at + STEP_MS <= now; ) {
      this.at += STEP_MS;
      this.step();
    }
  }

  private step(): void {
    const now = this.at;
    const waiting: Resources[] = [];
    for (const [name, application] of this.applications) {
      if (application.takenOverAt !== undefined && now >= application.takenOverAt) this.takeOver(name, application);
      for (const [deployment, each] of application.deployments) {
        each.scale(this.load(name, deployment));
        each.step(now, this.nodes);
        waiting.push(...each.waiting());
        if (each.gone) application.deployments.delete(deployment);
      }
      this.judge(application);
      if (application.status === "DELETING" && application.deployments.size === 0) this.applications.delete(name);
    }
    this.nodes.step(now, waiting);
  }

  /** The code is imported; its deployments get their new targets. */
  private takeOver(name: string, application: Application): void {
    const { config, codeVersion, deployments } = application;
    application.takenOverAt = undefined;
    try {
      application.declared ??= this.code(config.import_path);
      const known = application.declared.map((each) => each.name);
      const unknown = config.deployments?.find((entry) => !known.includes(entry.name));
      if (unknown !== undefined) {
        throw new Error(`ValueError: Deployment '${unknown.name}' does not exist. Available: ${JSON.stringify(known)}`);
      }
    } catch (error) {
      application.status = "DEPLOY_FAILED";
      application.message = `Deploying app '${name}' failed with exception:\nTraceback (most recent call last):\n  File "versions.py"\n${(error as Error).message}`;
      return;
    }
    const environment = environmentOf(config);
    for (const { resources, ...declared } of application.declared) {
      const entry = { ...declared, ...config.deployments?.find((each) => each.name === declared.name) };
      const version = `${codeVersion} ${JSON.stringify(entry.ray_actor_options ?? null)}`;
      const target = {
        config: entry,
        version,
        environment,
        faults: this.faults(environment),
        resources,
        capacity: this.targetCapacity,
      };
      const running = deployments.get(declared.name);
      if (running === undefined)
        deployments.set(declared.name, new FakeDeployment(name, declared.name, this.times, target));
      else running.set(target);
    }
    for (const deployment of deployments.values()) {
      if (!application.declared.some((each) => each.name === deployment.name)) deployment.remove();
    }
  }

  private judge(application: Application): void {
    const { deployments, takenOverAt } = application;
    const all = [...deployments.values()];
    if (all.length > 0 && all.every((each) => each.deleting)) application.status = "DELETING";
    if (takenOverAt !== undefined || application.declared === undefined || application.status === "DELETING") return;
    const named = (status: string) => all.filter((each) => each.status === status).map((each) => `'${each.name}'`);
    const [failed, unhealthy] = [named("DEPLOY_FAILED"), named("UNHEALTHY")];
    const busy = all.some(({ status, trigger }) => status !== "HEALTHY" && trigger !== "AUTOSCALING");
    application.status =
      failed.length > 0 ? "DEPLOY_FAILED" : unhealthy.length > 0 ? "UNHEALTHY" : busy ? "DEPLOYING" : "RUNNING";
    application.message =
      failed.length > 0
        ? `Failed to update the deployments [${failed.join(", ")}].`
        : unhealthy.length > 0
          ? `The deployments [${unhealthy.join(", ")}] are UNHEALTHY.`
          : "";
  }

  private faults(environment: Record<string, string>): Faults {
    const { FAIL, BREAK, DELAY } = environment;
    return {
      fail: FAIL === undefined || FAIL === "" ? undefined : FAIL,
      broken: () => BREAK !== undefined && this.exists(BREAK),
      delayMs: Number(DELAY ?? 0) * 1000,
    };
  }
}

function takenBy(replica: FakeReplica): Taken {
  replica.ongoing += 1;
  let open = true;
  return {
    environment: replica.environment,
    replica: replica.id,
    done: () => {
      if (open) replica.ongoing -= 1;
      open = false;
    },
  };
}

/** What Ray hashes of an application: when it changes, all replicas are replaced. */
function codeVersionOf({ import_path, runtime_env = {}, args = {}, deployments = [] }: ApplicationConfig): string {
  const scaling = deployments
    .filter((each) => each.autoscaling_config)
    .map((each) => each.autoscaling_config?.policy ?? null);
  return JSON.stringify([import_path, runtime_env, args, scaling]);
}

function environmentOf({ runtime_env: environment = {} }: ApplicationConfig): Record<string, string> {
  return (environment.env_vars ?? {}) as Record<string, string>;
}

const prefixOf = ({ route_prefix: prefix }: ApplicationConfig) => (prefix === undefined ? "/" : prefix);

const covers = (prefix: string | null, path: string) =>
  prefix !== null && (prefix === "/" || path === prefix || path.startsWith(`${prefix}/`));
