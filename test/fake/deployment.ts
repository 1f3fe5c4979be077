import type { AutoscalingConfig, DeploymentConfig } from "../../provider/serve/config";
import type { Nodes, Resources } from "./nodes";

export interface ReplicaTimes {
  /** ms from its place on a node until a replica runs, beside the DELAY that the service asks for. */
  replicaStartMs: number;
  /** ms until a replica that is to end is gone, if it has no request. */
  replicaStopMs: number;
  /** ms until replicas that fail their health check are given up. */
  healthMs: number;
  /** ms from when on Ray tells of a replica without a place. */
  slowMs: number;
}

/** What the replicas of a deployment are told by their application's environment. */
export interface Faults {
  /** Their constructor raises this; undefined: it does not. */
  fail: string | undefined;
  /** Whether their health check raises now. */
  broken(): boolean;
  /** ms that their constructor takes. */
  delayMs: number;
}

export interface FakeReplica {
  id: string;
  state: "STARTING" | "RUNNING" | "STOPPING";
  nodeId: string | undefined;
  /** Code version it runs. */
  version: string;
  environment: Record<string, string>;
  /** Requests under way. */
  ongoing: number;
}

interface Replica extends FakeReplica {
  faults: Faults;
  resources: Resources;
  since: number;
  unhealthySince: number | undefined;
}

/** What a PUT makes of a deployment. */
export interface Target {
  config: DeploymentConfig;
  version: string;
  environment: Record<string, string>;
  faults: Faults;
  resources: Resources;
  capacity: number | null;
}

export type DeploymentStatus = "UPDATING" | "HEALTHY" | "UNHEALTHY" | "DEPLOY_FAILED" | "UPSCALING" | "DOWNSCALING";

const START_FAILURES_OF_A_REPLICA = 3;
const MOST_START_FAILURES = 20;
const GRACEFUL_SHUTDOWN_S = 20;

/** One deployment as Ray Serve's controller keeps it. */
export class FakeDeployment {
  status: DeploymentStatus = "UPDATING";
  trigger = "CONFIG_UPDATE_STARTED";
  message = "";
  targetReplicas = 0;
  deleting = false;
  private replicas: Replica[] = [];
  private failures = 0;
  private failure = "";
  private hasStarted = false;
  private made = 0;
  /** Replicas that this round of the controller found gone. */
  private readonly ended = new Set<string>();

  constructor(
    readonly application: string,
    readonly name: string,
    private readonly times: ReplicaTimes,
    private target: Target,
  ) {
    this.begin(firstCount(target), "UPDATING");
  }

  /** Takes another target over; the same one changes nothing. */
  set(target: Target): void {
    const before = this.target;
    this.target = target;
    const count = firstCount(target, this.targetReplicas);
    const same = JSON.stringify([before.config, before.version, before.capacity]);
    if (same === JSON.stringify([target.config, target.version, target.capacity])) return;
    const updating = before.version !== target.version || count === this.targetReplicas;
    this.begin(count, updating ? "UPDATING" : count > this.targetReplicas ? "UPSCALING" : "DOWNSCALING");
  }

  /** The load's wish, where the deployment scales by itself. */
  scale(wanted: number | undefined): void {
    const bounds = boundsOf(this.target);
    if (bounds === undefined || wanted === undefined || this.deleting) return;
    const count = Math.min(bounds.max, Math.max(bounds.min, wanted));
    if (count === this.targetReplicas) return;
    this.status = count > this.targetReplicas ? "UPSCALING" : "DOWNSCALING";
    this.trigger = "AUTOSCALING";
    this.message = `${this.status === "UPSCALING" ? "Upscaling" : "Downscaling"} from ${this.targetReplicas} to ${count} replicas.`;
    this.targetReplicas = count;
  }

  remove(): void {
    this.deleting = true;
    this.targetReplicas = 0;
  }

  get gone(): boolean {
    return this.deleting && this.replicas.length === 0;
  }

  /** One round of the controller. */
  step(now: number, nodes: Nodes): void {
    for (const replica of this.replicas) this.advance(replica, now, nodes);
    for (const { id, nodeId, resources } of this.replicas) {
      if (nodeId !== undefined && this.ended.has(id)) nodes.release(nodeId, resources, now);
    }
    this.replicas = this.replicas.filter(({ id }) => !this.ended.has(id));
    this.ended.clear();
    this.hasStarted ||= this.replicas.some(
      ({ state, version }) => state === "RUNNING" && version === this.target.version,
    );
    this.adjust(now);
    if (!this.deleting) this.judge(now, nodes);
  }

  private advance(replica: Replica, now: number, nodes: Nodes): void {
    if (replica.nodeId !== undefined && nodes.isLost(replica.nodeId)) {
      this.ended.add(replica.id);
      return;
    }
    const age = now - replica.since;
    if (replica.state === "STARTING") {
      if (replica.nodeId === undefined) {
        replica.nodeId = nodes.place(replica.resources);
        if (replica.nodeId !== undefined) replica.since = now;
      } else if (age >= this.times.replicaStartMs + replica.faults.delayMs) this.started(replica, now);
    } else if (replica.state === "RUNNING") {
      replica.unhealthySince = replica.faults.broken() ? (replica.unhealthySince ?? now) : undefined;
      if (replica.unhealthySince !== undefined && now - replica.unhealthySince >= this.times.healthMs) {
        stop(replica, now);
        this.become(
          "UNHEALTHY",
          "HEALTH_CHECK_FAILED",
          "A replica's health check failed. This deployment will be UNHEALTHY until the replica recovers or a new deploy happens.",
        );
      }
    } else {
      const patience = (this.target.config.graceful_shutdown_timeout_s as number | undefined) ?? GRACEFUL_SHUTDOWN_S;
      const quiet = replica.ongoing === 0 || age >= patience * 1000;
      if (quiet && age >= this.times.replicaStopMs) this.ended.add(replica.id);
    }
  }

  private started(replica: Replica, now: number): void {
    const { fail, broken } = replica.faults;
    if (fail === undefined && !broken()) {
      replica.state = "RUNNING";
      replica.since = now;
      return;
    }
    stop(replica, now);
    if (this.targetReplicas === 0) return;
    this.failures += 1;
    this.failure = tracebackOf(this.application, this.name, fail ?? "told to be unhealthy");
    if (this.status === "UNHEALTHY" || this.status === "DEPLOY_FAILED") return;
    const left = this.hasStarted ? "" : ` ${Math.max(this.threshold - this.failures, 0)} more time(s)`;
    this.message = `A replica failed to start with exception. Retrying${left}. Error:\n${this.failure}`;
  }

  private get threshold(): number {
    return Math.min(MOST_START_FAILURES, this.targetReplicas * START_FAILURES_OF_A_REPLICA);
  }

  /** Starts and stops replicas: those of another code version are replaced a fifth at a time. */
  private adjust(now: number): void {
    const alive = this.replicas.filter(({ state }) => state !== "STOPPING");
    const outdated = alive.filter(({ version }) => version !== this.target.version);
    const pending = this.replicas.filter(
      ({ state, version }) => state === "STARTING" && version === this.target.version,
    );
    const stopping = this.replicas.length - alive.length;
    if (outdated.length > 0 && alive.length <= this.targetReplicas) {
      const atOnce = Math.max(1, Math.floor(0.2 * this.targetReplicas));
      for (const replica of outdated.slice(0, Math.max(0, atOnce - pending.length - stopping))) stop(replica, now);
    }
    const left = this.replicas.filter(({ state }) => state !== "STOPPING");
    for (let count = left.length; count < this.targetReplicas && !this.givenUp; count++) this.start(now);
    const surplus = Math.max(0, left.length - this.targetReplicas);
    for (const replica of left.sort((a, b) => rank(a) - rank(b)).slice(0, surplus)) stop(replica, now);
  }

  /** Ray waits ever longer between attempts then; here it makes none. */
  private get givenUp(): boolean {
    return !this.hasStarted && this.failures >= this.threshold && this.targetReplicas > 0;
  }

  private judge(now: number, nodes: Nodes): void {
    const running = this.replicas.filter(
      ({ state, version }) => state === "RUNNING" && version === this.target.version,
    );
    if (this.givenUp) {
      this.become(
        "DEPLOY_FAILED",
        "REPLICA_STARTUP_FAILED",
        `The deployment failed to start ${this.failures} times in a row. This may be due to a problem with its ` +
          `constructor or initial health check failing. See controller logs for details. Error:\n${this.failure}`,
      );
      return;
    }
    if (running.length === this.targetReplicas && running.length === this.replicas.length) {
      const completed: Partial<Record<DeploymentStatus, string>> = {
        UPSCALING: "UPSCALE_COMPLETED",
        DOWNSCALING: "DOWNSCALE_COMPLETED",
      };
      if (this.status !== "HEALTHY") {
        this.become("HEALTHY", completed[this.status] ?? "CONFIG_UPDATE_COMPLETED", "");
      }
      this.failures = 0;
      return;
    }
    const placeless = this.replicas.filter(({ state, nodeId }) => state === "STARTING" && nodeId === undefined);
    const slow = placeless.filter(({ since }) => now - since >= this.times.slowMs);
    if (slow.length === 0 || this.status === "UNHEALTHY" || this.status === "DEPLOY_FAILED") return;
    this.message =
      `Deployment '${this.name}' in application '${this.application}' has ${slow.length} replicas that have taken more than ` +
      `${this.times.slowMs / 1000}s to be scheduled. This may be due to waiting for the cluster to auto-scale or for a runtime ` +
      `environment to be installed. Resources required for each replica: ${JSON.stringify(slow[0]?.resources)}, ` +
      `total resources available: ${JSON.stringify(nodes.total())}. Use \`ray status\` for more details.`;
  }

  private become(status: DeploymentStatus, trigger: string, message: string): void {
    this.status = status;
    this.trigger = trigger;
    this.message = message;
  }

  private begin(count: number, status: DeploymentStatus): void {
    this.targetReplicas = count;
    this.failures = 0;
    this.hasStarted = false;
    this.become(status, "CONFIG_UPDATE_STARTED", "");
  }

  private start(now: number): void {
    const { version, environment, faults, resources } = this.target;
    const id = `${this.name.toLowerCase()}${(this.made++).toString(36).padStart(6, "0")}`;
    this.replicas.push({
      id,
      state: "STARTING",
      nodeId: undefined,
      version,
      environment,
      faults,
      resources,
      ongoing: 0,
      since: now,
      unhealthySince: undefined,
    });
  }

  /** Resources of replicas that have no node yet. */
  waiting(): Resources[] {
    return this.replicas
      .filter(({ state, nodeId }) => state === "STARTING" && nodeId === undefined)
      .map(({ resources }) => resources);
  }

  list(): readonly FakeReplica[] {
    return this.replicas;
  }

  /** One deployment in the answer of GET /api/serve/applications/. */
  details(): object {
    const { config } = this.target;
    return {
      name: this.name,
      status: this.status,
      status_trigger: this.trigger,
      message: this.message,
      target_num_replicas: this.targetReplicas,
      deployment_config: {
        graceful_shutdown_timeout_s: GRACEFUL_SHUTDOWN_S,
        ...config,
        num_replicas: typeof config.num_replicas === "number" ? config.num_replicas : 1,
        ...(config.autoscaling_config ? { autoscaling_config: autoscalingDetails(config.autoscaling_config) } : {}),
      },
      replicas: this.replicas.map(({ id, state, nodeId }) => ({ replica_id: id, state, node_id: nodeId ?? null })),
    };
  }
}

/** Ray's rounding: half up, and at least one of whatever is wanted. */
export function atCapacity(count: number, capacity: number | null): number {
  if (capacity === null || capacity === 100) return count;
  if (capacity === 0 || count === 0) return 0;
  return Math.max(1, Math.floor((count * capacity) / 100 + 0.5));
}

function boundsOf({ config, capacity }: Target): { min: number; initial: number | undefined; max: number } | undefined {
  const { autoscaling_config: scaling } = config;
  if (!scaling) return undefined;
  const initial = scaling.initial_replicas;
  return {
    min: atCapacity(scaling.min_replicas ?? 1, capacity),
    initial: typeof initial === "number" ? atCapacity(initial, capacity) : undefined,
    max: atCapacity(scaling.max_replicas ?? 1, capacity),
  };
}

/** What a deployment is set to by a config: initial_replicas each time, else what it has within the bounds. */
function firstCount(target: Target, current?: number): number {
  const bounds = boundsOf(target);
  const { num_replicas: fixed } = target.config;
  if (bounds === undefined) return atCapacity(typeof fixed === "number" ? fixed : 1, target.capacity);
  return bounds.initial ?? Math.min(bounds.max, Math.max(bounds.min, current ?? bounds.min));
}

const autoscalingDetails = (config: AutoscalingConfig) => ({
  min_replicas: 1,
  initial_replicas: null,
  max_replicas: 1,
  policy: { policy_function: "ray.serve.autoscaling_policy:default_autoscaling_policy", policy_kwargs: {} },
  ...config,
});

/** First those that serve nobody yet, then the youngest. */
const rank = ({ state, since }: Replica) => (state === "STARTING" ? Number.NEGATIVE_INFINITY : -since);

function stop(replica: Replica, now: number): void {
  replica.state = "STOPPING";
  replica.since = now;
}

const tracebackOf = (application: string, deployment: string, message: string) =>
  `ray::ServeReplica:${application}:${deployment}.initialize_and_get_metadata()\n` +
  `Traceback (most recent call last):\n  File "versions.py", line 23, in __init__\n    raise RuntimeError\n` +
  `RuntimeError: ${message}`;
