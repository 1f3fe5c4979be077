import assert from "node:assert/strict";
import { type Endpoint, Load } from "../../rollout/demo/load";
import {
  type DeployOptions,
  deploy,
  type RollbackOptions,
  type RolloutEvent,
  rollback,
  supervise,
} from "../../rollout/index";
import { InvariantWatch } from "../e2e/invariants";
import { localSources } from "../e2e/localSources";
import { replicas, TestProject, versionAnswering } from "../e2e/project";
import { writeFakePython } from "../fake/python";
import { reachedIn } from "../waypoints";

const requestsPerSecond = 10;

/** What a version's environment asks of it, as test/e2e/app/versions.py has it. */
export type Faults = Record<string, string>;

/**
 * A service whose Ray is the fake of test/fake; engine, provider, HAProxy and driver are the real ones. What it does not
 * prove is said there. Commands run in this process, so that a test sees their events.
 */
export class Scenario {
  readonly project = new TestProject();
  /** Waypoints that the last command reached: "primary capacity, canary capacity, canary traffic". */
  reached: string[] = [];
  events: RolloutEvent[] = [];
  private endpoint: Endpoint | undefined;
  private readonly python = process.env.RAYSHIFT_PYTHON;

  constructor(readonly versions: readonly string[]) {
    process.env.RAYSHIFT_PYTHON = writeFakePython(this.project.folder);
  }

  get folder(): string {
    return this.project.folder;
  }

  /** The first version, alone. */
  async begin(version: string): Promise<void> {
    const { url } = await this.deploy(version);
    const token = await this.project.pulumi("stack", "output", "queryAuthToken", "--show-secrets");
    this.endpoint = { url, token: token.stdout.trim() };
  }

  deploy(version: string, options: DeployOptions = {}, faults: Faults = {}) {
    const service = this.project.service(version, faults);
    return deploy({ folder: this.folder, service, ...options, onEvent: this.listen(options) });
  }

  rollback(options: RollbackOptions = {}) {
    return rollback({ folder: this.folder, ...options, onEvent: this.listen(options) });
  }

  superviseOnce() {
    return supervise({ folder: this.folder, once: true, onEvent: this.listen({}) });
  }

  /** The version that answers, or the status of another answer. */
  async answering(headers: Record<string, string> = {}): Promise<string> {
    assert.ok(this.endpoint, "nothing is deployed");
    return versionAnswering(this.endpoint, headers);
  }

  /** Runs something under load and under the eyes of the invariants: none is broken and no request fails. */
  async safely<T>(surge: number, run: () => Promise<T>): Promise<T> {
    assert.ok(this.endpoint, "nothing is deployed");
    const workers = Math.ceil((replicas * (100 + surge)) / 100);
    const watch = new InvariantWatch(localSources(this.project.project, this.versions), {
      full: replicas,
      surge,
      workers,
    });
    const load = new Load(this.endpoint, requestsPerSecond);
    let result: T;
    try {
      result = await run();
    } finally {
      await watch.stop();
      await load.stop();
    }
    assert.deepEqual(watch.violations, []);
    assert.deepEqual([load.counts.failed, load.counts.sent > 0], [0, true], JSON.stringify(load.counts));
    return result;
  }

  async assertNothingToDo(): Promise<void> {
    const preview = await this.project.pulumi("preview", "--expect-no-changes");
    assert.equal(preview.code, 0, preview.stdout + preview.stderr);
  }

  /** Versions whose clusters run or left something. */
  clusters(): string[] {
    return this.versions.filter((version) =>
      this.project.leftovers([version]).some((left) => left.startsWith("cluster")),
    );
  }

  async end(): Promise<void> {
    await this.project.remove(this.versions);
    if (this.python === undefined) delete process.env.RAYSHIFT_PYTHON;
    else process.env.RAYSHIFT_PYTHON = this.python;
  }

  private listen({ onEvent }: { onEvent?: ((event: RolloutEvent) => void) | undefined }) {
    this.reached = [];
    this.events = [];
    return (event: RolloutEvent) => {
      this.events.push(event);
      this.reached.push(...reachedIn([event]));
      onEvent?.(event);
    };
  }
}
