import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { HEAD_NODE_TYPE } from "../../provider/local/rayHead";
import type { Resources } from "./nodes";
import { answerDashboard, answerUser, refuse } from "./rest";
import { FakeServe, type FakeTimes } from "./serve";

/** What the provider writes for rayshift_head.py; the ports that nothing listens on here are left out. */
interface HeadConfig {
  dashboard_port: number;
  cpus: number;
  gpus: number;
  resources: Resources;
  temp_dir: string;
  /** Path of the autoscaler's config. */
  autoscaling_config: string;
}

interface AutoscalingFile {
  idle_timeout_minutes: number;
  available_node_types: Record<string, { resources: Resources; min_workers: number; max_workers: number }>;
}

const LOOPBACK = "127.0.0.1";
const POLL_MS = 50;
/** How long a worker outlives its head. */
const ORPHAN_SECONDS = 1;

/**
 * A fake of a cluster's head: a process that answers on the dashboard's port as Ray does, to whoever has the token, and
 * on Serve's port as the applications would. Its GCS and raylets are shells with these names, that end when it does, the
 * workers a moment later. It does not prove that Ray starts on such a config, or ends.
 */
export class FakeHead {
  private readonly serve: FakeServe;
  private readonly token: string;
  private readonly essential: ChildProcess[];
  private readonly workers = new Map<string, ChildProcess>();
  private readonly dashboard: Server;
  private dataPlane: Server | undefined;

  constructor(
    private readonly config: HeadConfig,
    tokenFile: string,
    times: Partial<FakeTimes>,
    /** Called when the head cannot go on. */
    private readonly end: (reason: string) => void,
  ) {
    const autoscaling = JSON.parse(readFileSync(config.autoscaling_config, "utf8")) as AutoscalingFile;
    const groups = Object.entries(autoscaling.available_node_types)
      .filter(([name]) => name !== HEAD_NODE_TYPE)
      .map(([name, { resources, min_workers: minNodes, max_workers: maxNodes }]) => {
        const { object_store_memory: _, ...rest } = resources;
        return { name, resources: rest, minNodes, maxNodes };
      });
    this.serve = new FakeServe({
      head: { ...config.resources, CPU: config.cpus, GPU: config.gpus },
      groups,
      times: { idleMs: autoscaling.idle_timeout_minutes * 60_000, ...times },
    });
    this.token = readFileSync(tokenFile, "utf8").trim();
    this.essential = [this.spawn("gcs_server", []), this.spawn("raylet", ["--head"])];
    for (const child of this.essential) child.once("exit", () => this.end(`${child.spawnfile} ended`));
    this.dashboard = createServer((request, response) => void this.answer(request, response));
    this.dashboard.listen(config.dashboard_port, LOOPBACK);
    setInterval(() => this.followNodes(), POLL_MS);
  }

  /** Ends everything of the cluster, in Ray's order. */
  stop(): void {
    for (const child of [...this.workers.values(), ...this.essential]) child.kill("SIGTERM");
  }

  private followNodes(): void {
    const alive = this.serve.workers();
    for (const id of alive) if (!this.workers.has(id)) this.workers.set(id, this.spawn("raylet", [], ORPHAN_SECONDS));
    for (const [id, worker] of this.workers) {
      if (alive.includes(id)) continue;
      this.workers.delete(id);
      worker.kill("SIGTERM");
    }
  }

  /** A shell that goes by the name and waits until this process is gone. */
  private spawn(name: string, words: string[], lingers = 0): ChildProcess {
    const path = join(dirname(this.config.temp_dir), name);
    try {
      symlinkSync("/bin/sh", path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const wait = `read _; sleep ${lingers}`;
    return spawn(path, ["-c", wait, name, `--temp_dir=${this.config.temp_dir}`, ...words], {
      stdio: ["pipe", "ignore", "ignore"],
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers.authorization !== `Bearer ${this.token}`) return refuse(response);
    await answerDashboard(this.serve, request, response, (config) => this.listen(config.http_options?.port));
  }

  private listen(port: number | undefined): void {
    if (this.dataPlane !== undefined || port === undefined) return;
    this.dataPlane = createServer(
      { keepAliveTimeout: 60_000 },
      (request, response) => void answerUser(this.serve, request, response),
    );
    this.dataPlane.listen(port, LOOPBACK);
  }
}
