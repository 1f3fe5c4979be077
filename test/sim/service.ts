import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { runtimeDirectory } from "../../components/local/host";
import { projectVariable } from "../../components/nearestProject";
import type { Random } from "../chaos/random";
import { FakeCli } from "../fake/cli";
import { FakeClock } from "../fake/clock";
import { FakeBackend } from "../fake/engine";
import { FakeProcess } from "../fake/process";
import { installWorld } from "../fake/seams";
import type { DeclaredDeployment } from "../fake/serve";
import { FakeWorld } from "../fake/world";
import type { Version } from "./schedule";

/** What the code of every version declares. */
const code = (): DeclaredDeployment[] => [{ name: "Model", resources: { CPU: 1, GPU: 1 } }];

/** A project with one stack on a world of fakes, and what its commands run in. */
export class Simulation {
  readonly folder = mkdtempSync(join(tmpdir(), "rayshift-sim-"));
  readonly clock = new FakeClock();
  readonly world: FakeWorld;
  readonly backend = new FakeBackend();
  readonly cli: FakeCli;
  readonly home = join(this.folder, ".rayshift");
  /** Config of each update that began. */
  onUpdate: (config: Record<string, string>) => void = () => {};
  private readonly undos: Array<() => void> = [];
  private readonly variables: Array<readonly [string, string | undefined]>;

  constructor(random: Random) {
    mkdirSync(this.home);
    writeFileSync(join(this.folder, "Pulumi.yaml"), "name: rayshift\nruntime: nodejs\n");
    const settings = { idleTimeoutSeconds: 1, drainTimeoutSeconds: 20, startupTimeoutSeconds: 60 };
    const config = Object.fromEntries(Object.entries(settings).map(([key, value]) => [`rayshift:${key}`, value]));
    writeFileSync(join(this.folder, "Pulumi.dev.yaml"), stringify({ config }));
    const environment = {
      RAYSHIFT_HOME: this.home,
      [projectVariable]: this.folder,
      RAYSHIFT_PYTHON: "/fake/python",
      RAYSHIFT_HAPROXY: "/fake/haproxy",
      PULUMI_CONFIG_SECRET_KEYS: "[]",
    };
    this.variables = Object.keys(environment).map((name) => [name, process.env[name]] as const);
    Object.assign(process.env, environment);
    this.world = new FakeWorld({ clock: this.clock, chance: (most) => random.below(most + 1), code });
    this.cli = new FakeCli(this.world, this.backend, (config) => this.onUpdate(config));
    this.clock.install();
    this.undos.push(() => this.clock.uninstall(), installWorld(this.world), this.cli.install());
  }

  /** The file that makes a version unhealthy while it is there. */
  breaks = (version: string) => join(this.folder, `break-${version}`);

  service({ name, fails, replicas }: Version): Record<string, unknown> {
    const environment = { VERSION: name, BREAK: this.breaks(name), ...(fails ? { FAIL: "no such model" } : {}) };
    return {
      name: "simulated",
      version_name: name,
      applications: [
        {
          import_path: "app:app",
          runtime_env: { env_vars: environment },
          deployments: [{ name: "Model", num_replicas: replicas }],
        },
      ],
      compute_config: { worker_nodes: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, min_nodes: 0, max_nodes: 20 }] },
    };
  }

  directoryOf(part: string): string {
    return runtimeDirectory({ home: this.home, project: "rayshift", stack: "dev", part });
  }

  get balancer() {
    return this.world.balancers.get(this.directoryOf("load-balancer"));
  }

  close(): void {
    FakeProcess.endAll();
    for (const undo of this.undos.reverse()) undo();
    for (const [name, value] of this.variables) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    for (const directory of [this.directoryOf("load-balancer"), ...this.world.directories]) {
      for (const path of [directory, `${directory}.lock`, `${directory}.lock.break`])
        rmSync(path, { recursive: true, force: true });
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
