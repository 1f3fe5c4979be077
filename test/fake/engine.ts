import { isDeepStrictEqual } from "node:util";
import type { provider as pulumiProvider } from "@pulumi/pulumi";
import { providerFor } from "../../provider/server";
import { resourceTypes } from "../../provider/types";
import type { Project } from "../../rollout/project";
import type { EngineEvent } from "../../rollout/pulumi";
import { alive, FakeProcess } from "./process";
import { type Bag, type Given, type Goal, runProgram } from "./program";
import type { FakeWorld } from "./world";

/** One resource of a stack's state. */
export interface Resource extends Goal {
  id: string;
  outputs: Bag;
  initErrors: string[];
}

type Operation = "creating" | "updating" | "deleting";

/** A stack as a backend keeps it; written before and after every operation. */
export class FakeBackend {
  exists = false;
  resources: Resource[] = [];
  pending: Array<{ type: Operation; resource: Pick<Resource, "urn" | "type" | "inputs"> }> = [];
  outputs: Bag = {};
  lock: { pid: number; since: string } | undefined;
}

export interface EngineOptions {
  world: FakeWorld;
  backend: FakeBackend;
  project: Project;
  config: Record<string, string>;
  emit: (event: EngineEvent) => void;
}

/** Time until a provider without its engine notices, and the longest time that it then goes on; as in engineWatch.ts. */
const noticedMs = 100;
const graceMs = 30_000;

/** Thrown after the failure was reported. */
class StepFailed extends Error {}

/**
 * A fake of one update of the Pulumi engine: the steps of the resources that the real program registers, on the real
 * provider's protocol handlers; refresh, failed initialisation, what is kept of a killed update, and the end of what is
 * no longer registered. Resources are never replaced here. It does not prove that the engine does so: the end-to-end
 * tests run the real one.
 */
export class FakeEngine {
  readonly provider: FakeProcess;
  private readonly signal = new AbortController();
  private readonly handlers: pulumiProvider.Provider;
  private readonly underway = new Set<Promise<unknown>>();
  private readonly registered: Resource[] = [];
  private stop: () => void = () => {};
  private readonly stopped = new Promise<void>((resolve) => {
    this.stop = resolve;
  });
  private failed = false;

  constructor(private readonly options: EngineOptions) {
    const { emit, world } = options;
    this.provider = new FakeProcess("provider");
    this.handlers = providerFor(resourceTypes, "0", this.signal, (urn, severity, message, ephemeral) => {
      emit({ diagnosticEvent: { urn, severity, message, ephemeral } });
    });
    FakeProcess.current?.onEnd(() => {
      world.clock.after(
        noticedMs,
        () => this.signal.abort(new Error("the engine that started this update is gone")),
        true,
      );
      world.clock.after(graceMs, () => this.provider.end(), true);
    });
  }

  /** Gives whether it succeeded. */
  async up(refresh: boolean): Promise<boolean> {
    const { project, config, backend, emit } = this.options;
    if (refresh) await this.refresh();
    if (!this.failed) {
      const program = runProgram({
        project: project.name,
        stack: project.stack,
        folder: project.folder,
        config,
        outputs: backend.outputs,
        register: (goal) => this.register(goal),
        log: (severity, message) => emit({ diagnosticEvent: { urn: "", severity, message } }),
      }).then(
        (outputs) => ({ outputs }),
        (error: Error) => ({ error }),
      );
      const ended = await Promise.race([program, this.stopped]);
      await this.settled();
      if (ended && "error" in ended) this.fail("", "", ended.error.message);
      else if (ended && !this.failed) {
        this.mark("outputs", "before");
        await alive();
        backend.outputs = ended.outputs;
        await this.endOthers(new Set(this.registered.map(({ urn }) => urn)));
      }
    }
    return this.over();
  }

  async destroy(): Promise<boolean> {
    await this.endOthers(new Set());
    if (!this.failed) this.options.backend.outputs = {};
    return this.over();
  }

  /** The first signal: no further step, and those under way are told to stop. */
  cancel(): void {
    if (!this.failed) this.options.emit({ diagnosticEvent: { severity: "error", message: "update canceled" } });
    this.failed = true;
    void this.handlers.cancel?.();
    this.stop();
  }

  private over(): boolean {
    this.provider.end();
    return !this.failed;
  }

  private async settled(): Promise<void> {
    while (this.underway.size > 0) await Promise.allSettled([...this.underway]);
    await alive();
  }

  private fail(urn: string, op: string, message: string): StepFailed {
    const { emit } = this.options;
    emit({ diagnosticEvent: { urn, severity: "error", message } });
    if (op !== "") emit({ resOpFailedEvent: { metadata: { urn, op } } });
    this.failed = true;
    this.stop();
    return new StepFailed(message);
  }

  /** Never resolves for a resource that fails, as for all that is registered after that. */
  private async register(goal: Goal): Promise<Given> {
    if (this.failed) return new Promise(() => {});
    const step = this.step(goal);
    this.underway.add(step);
    try {
      return await step.finally(() => this.underway.delete(step));
    } catch (error) {
      if (!(error instanceof StepFailed)) this.fail(goal.urn, "", (error as Error).message);
      return new Promise(() => {});
    }
  }

  private async step(goal: Goal): Promise<Given> {
    const { urn, type, custom, ignoreChanges } = goal;
    const old = this.options.backend.resources.find((each) => each.urn === urn);
    if (!custom) return this.keep({ ...goal, id: "", outputs: goal.inputs, initErrors: [] }, old ? "same" : "create");
    const inputs = { ...goal.inputs };
    for (const key of old === undefined ? [] : ignoreChanges) {
      delete inputs[key];
      if (old && key in old.inputs) inputs[key] = old.inputs[key];
    }
    const { failures = [] } = await this.ask(({ check }) => check!(urn, old?.inputs ?? {}, inputs));
    if (failures.length > 0) throw this.fail(urn, "", `${type} is not valid: ${JSON.stringify(failures)}`);
    const wanted = { ...goal, inputs };
    if (old === undefined) {
      const made = await this.operate("creating", wanted, ({ create }) => create!(urn, inputs));
      return this.keep({ ...wanted, id: made.id, outputs: made.outs, initErrors: [] }, "create");
    }
    const { changes, replaces = [] } = await this.ask(({ diff }) => diff!(old.id, urn, old.outputs, inputs));
    if (replaces.length > 0) throw this.fail(urn, "", `the fake engine does not replace: ${replaces} of ${urn}`);
    if (!changes && old.initErrors.length === 0) return this.keep({ ...old, ...wanted }, "same");
    const { outs } = await this.operate("updating", { ...old, ...wanted }, ({ update }) =>
      update!(old.id, urn, old.outputs, inputs),
    );
    return this.keep({ ...old, ...wanted, outputs: outs, initErrors: [] }, "update");
  }

  /** An operation with what the backend keeps of it. */
  private async operate<T>(
    type: Operation,
    resource: Goal & Partial<Resource>,
    work: (provider: pulumiProvider.Provider) => Promise<T>,
  ): Promise<T> {
    const { backend } = this.options;
    const { urn, name, inputs } = resource;
    const pending = { type, resource: { urn, type: resource.type, inputs } };
    backend.pending.push(pending);
    this.mark(`${type} ${name}`, "before");
    await alive();
    const done = () => {
      backend.pending = backend.pending.filter((each) => each !== pending);
    };
    try {
      const result = await this.ask(work);
      this.mark(`${type} ${name}`, "after");
      await alive();
      done();
      return result;
    } catch (error) {
      await alive();
      done();
      const partial = error as { id?: string; properties?: Bag; message: string };
      if (partial.id !== undefined && partial.properties !== undefined) {
        const { id, properties: outputs, message } = partial;
        this.keep({ ...resource, id, outputs, initErrors: [message] }, type === "creating" ? "create" : "update");
      }
      throw this.fail(urn, type === "creating" ? "create" : type === "updating" ? "update" : "delete", partial.message);
    }
  }

  /** Asks the provider, which may be gone. */
  private async ask<T>(work: (provider: pulumiProvider.Provider) => Promise<T>): Promise<T> {
    const result = await new Promise<T>((resolve, reject) => {
      this.provider.onEnd(() => reject(new Error("error reading from server: EOF")));
      if (this.provider.alive) this.provider.run(() => work(this.handlers)).then(resolve, reject);
    });
    await alive();
    return result;
  }

  private keep(resource: Resource, op: string): Given {
    const { backend, emit } = this.options;
    this.registered.push(resource);
    const own = new Set(this.registered.map(({ urn }) => urn));
    backend.resources = [...this.registered, ...backend.resources.filter(({ urn }) => !own.has(urn))];
    const { urn, type, outputs, id } = resource;
    if (resource.initErrors.length === 0) {
      emit({ resOutputsEvent: { metadata: { urn, op, type, new: { outputs } } } });
    }
    return { id, outputs };
  }

  private async refresh(): Promise<void> {
    const { backend } = this.options;
    for (const old of [...backend.resources]) {
      if (!old.custom || this.failed) continue;
      try {
        const { id, props } = await this.ask(({ read }) => read!(old.id, old.urn, old.outputs));
        const others = (found: Resource[]) => {
          backend.resources = backend.resources.flatMap((each) => (each === old ? found : [each]));
        };
        if (!id) others([]);
        else if (old.initErrors.length > 0 || !isDeepStrictEqual(props, old.outputs)) {
          others([{ ...old, outputs: props ?? {}, initErrors: [] }]);
        }
      } catch (error) {
        this.fail(old.urn, "refresh", (error as Error).message);
      }
    }
  }

  /** Ends what the program does not want any more, what depends on others first. */
  private async endOthers(wanted: ReadonlySet<string>): Promise<void> {
    const { backend } = this.options;
    const leaving = backend.resources.filter(({ urn }) => !wanted.has(urn)).reverse();
    const leavingUrns = new Set(leaving.map(({ urn }) => urn));
    for (const resource of leaving) {
      if (this.failed) return;
      if (resource.custom && !leavingUrns.has(resource.deletedWith)) {
        const { id, urn, outputs } = resource;
        try {
          await this.operate("deleting", resource, (provider) => provider.delete!(id, urn, outputs));
        } catch {
          return;
        }
      }
      backend.resources = backend.resources.filter((each) => each !== resource);
    }
  }

  private mark(what: string, when: "before" | "after"): void {
    this.options.world.onInstant(`engine ${what}`, when);
  }
}
