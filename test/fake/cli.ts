import { hostname } from "node:os";
import { effect } from "../../provider/effects";
import { unwrap } from "../../provider/wire";
import { ConfigFile } from "../../rollout/configFile";
import type { Project } from "../../rollout/project";
import { type CliResult, type EngineEvent, PulumiCli } from "../../rollout/pulumi";
import { type FakeBackend, FakeEngine } from "./engine";
import { alive, FakeProcess } from "./process";
import type { FakeWorld } from "./world";

type Run = {
  project: Project;
  args: readonly string[];
  input: string;
  onEvent: (event: EngineEvent) => void;
  signal: AbortSignal | undefined;
};

const startMs = 200;
const insistMs = 20_000;
const locking = ["up", "destroy", "import", "rm"];

const ok = (stdout = ""): CliResult => ({ code: 0, stdout, stderr: "" });
const error = (message: string): CliResult => ({ code: 255, stdout: "", stderr: `error: ${message}` });

/**
 * A fake of the Pulumi CLI: the commands that the driver runs, over the fake engine and one stack, with its lock. It does
 * not prove that the CLI takes these flags or gives these answers: the end-to-end tests run the real one.
 */
export class FakeCli {
  /** The update that runs, if one does. */
  underway: { engine: FakeEngine; process: FakeProcess } | undefined;

  constructor(
    private readonly world: FakeWorld,
    private readonly backend: FakeBackend,
    /** Told of every update that begins. */
    private readonly onUpdate: (config: Record<string, string>) => void,
  ) {}

  /** Puts it in the place of the CLI; gives a function that puts that back. */
  install(): () => void {
    const before = { run: PulumiCli.prototype.run, runWithEvents: PulumiCli.prototype.runWithEvents };
    const cli = this;
    PulumiCli.prototype.run = function (args, signal, input = "") {
      return cli.run({ project: this.project, args, input, onEvent: () => {}, signal });
    };
    PulumiCli.prototype.runWithEvents = function (args, onEvent, signal) {
      const run = () => cli.run({ project: this.project, args, input: "", onEvent, signal });
      return effect(`pulumi ${args[0]}`, "", run);
    };
    return () => Object.assign(PulumiCli.prototype, before);
  }

  async run(run: Run): Promise<CliResult> {
    run.signal?.throwIfAborted();
    await alive();
    const driver = FakeProcess.current;
    const cli = new FakeProcess(`pulumi ${run.args.join(" ")}`);
    const onEvent = (event: EngineEvent) => {
      if (driver?.alive !== false) driver?.run(() => run.onEvent(event));
    };
    const interrupt = () => cli.interrupt();
    const cancel = () => {
      interrupt();
      this.world.clock.after(insistMs, interrupt, true);
    };
    run.signal?.addEventListener("abort", cancel, { once: true });
    const result = await new Promise<CliResult>((resolve) => {
      cli.onEnd(() => resolve({ code: -1, stdout: "", stderr: "" }));
      cli
        .run(() => this.command({ ...run, onEvent }, cli))
        .then(resolve, (failure: Error) => resolve(error(`the fake CLI failed: ${failure.stack}`)));
    });
    cli.end();
    run.signal?.removeEventListener("abort", cancel);
    await alive();
    return result;
  }

  private async command(run: Run, cli: FakeProcess): Promise<CliResult> {
    const { backend } = this;
    const { args, input, project } = run;
    const verb = (args[0] === "stack" ? args[1] : args[0]) ?? "";
    await this.world.clock.sleep(startMs + this.world.chance(startMs));
    if (verb !== "output" && verb !== "export") this.world.onInstant(`pulumi ${verb}`, "before");
    await alive();
    if (verb === "init") {
      if (backend.exists) return error(`stack '${project.stack}' already exists`);
      backend.exists = true;
      return ok();
    }
    if (!backend.exists) return error(`no stack named '${project.stack}' found`);
    if (verb === "output") return ok(JSON.stringify(unwrap(backend.outputs)));
    if (verb === "export") {
      const deployment = { resources: backend.resources, pending_operations: backend.pending };
      return ok(JSON.stringify({ version: 3, deployment }));
    }
    if (verb === "cancel") {
      backend.lock = undefined;
      return ok();
    }
    if (!locking.includes(verb)) return error(`unknown command "${verb}"`);
    if (backend.lock !== undefined) return locked(backend.lock);
    backend.lock = { pid: cli.pid, since: new Date().toISOString() };
    const result = await this.withLock(verb, run, cli, input);
    await alive();
    backend.lock = undefined;
    this.world.onInstant(`pulumi ${verb}`, "after");
    await alive();
    return result;
  }

  private async withLock(verb: string, run: Run, cli: FakeProcess, input: string): Promise<CliResult> {
    const { backend, world } = this;
    if (verb === "import") {
      const { deployment } = JSON.parse(input);
      backend.resources = deployment.resources;
      backend.pending = deployment.pending_operations;
      return ok();
    }
    if (verb === "rm") {
      if (backend.resources.length > 0) return error("the stack still has resources");
      backend.exists = false;
      return ok();
    }
    const { project, onEvent, args } = run;
    const values = new ConfigFile(project).read();
    const config = Object.fromEntries(Object.entries(values).map(([key, value]) => [`${project.name}:${key}`, value]));
    this.onUpdate(values);
    const message = args[args.indexOf("--message") + 1];
    world.note(
      `pulumi ${verb}${verb === "up" ? `: ${message}` : ""}${args.includes("--refresh") ? ", refreshed" : ""}`,
    );
    const engine = new FakeEngine({ world, backend, project, config, emit: onEvent });
    this.underway = { engine, process: cli };
    let told = 0;
    cli.interrupt = () => {
      told += 1;
      if (told === 1) engine.cancel();
      else cli.end();
    };
    const good = verb === "up" ? await engine.up(args.includes("--refresh")) : await engine.destroy();
    this.underway = undefined;
    if (good) return ok();
    onEvent({ diagnosticEvent: { severity: "error", message: "update failed" } });
    return error("update failed");
  }
}

function locked({ pid, since }: { pid: number; since: string }): CliResult {
  return error(
    "the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock file " +
      `with \`pulumi cancel\`.\n  file:///state/.pulumi/locks/organization/rayshift/dev/1.json: created by ada@${hostname()} (pid ${pid}) at ${since}\n`,
  );
}
