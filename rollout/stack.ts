import { hostname } from "node:os";
import { parseRecord, type RolloutRecord } from "../components/record";
import type { Addresses } from "../components/service";
import { identify, signalProcess, waitForEnd } from "../provider/local/process";
import { resourceTypes } from "../provider/types";
import { unwrap } from "../provider/wire";
import { EngineEnded, StackLocked, UpdateFailed } from "./errors";
import { explained } from "./explained";
import { endHelpers, isOrphan } from "./orphans";
import { type HistoryEntry, historyEntry } from "./pastRollouts";
import { type CliResult, type EngineEvent, failureOf, isLocked, killed, type PulumiCli } from "./pulumi";
import { endStrayRayServices, type HeldResource } from "./strayRayServices";
import { strayClusters } from "./strays";

/** What the last completed update left in the stack. */
export interface StackOutputs {
  url?: string;
  queryAuthToken?: string;
  rollout: RolloutRecord | undefined;
  targets: Addresses | undefined;
}

export interface UpdateOptions {
  /** Kept in the stack's history. */
  message: string;
  /** Compares the stack with what really runs before the update, so that what is gone is made again. */
  refresh?: boolean;
  onEvent?: (event: EngineEvent) => void;
  signal?: AbortSignal | undefined;
}

const CLUSTER = "rayserve:local:Cluster";
const SERVICE = "rayshift:index:Service";
/** An orphaned update is told to stop and gets this long; it has effects under way that take their time to cancel. */
const orphanPatienceMs = 60_000;

/** One stack: its outputs, its updates, and what killed updates left behind. */
export class Stack {
  constructor(private readonly cli: PulumiCli) {}

  /** Undefined when there is no such stack. */
  async outputs(signal?: AbortSignal): Promise<StackOutputs | undefined> {
    const result = await this.cli.run(["stack", "output", "--json", "--show-secrets"], signal);
    signal?.throwIfAborted();
    if (isMissing(result)) return undefined;
    if (result.code !== 0) throw failureOf("reading the stack's outputs", result);
    const { rollout, ...outputs } = JSON.parse(result.stdout);
    return { ...outputs, rollout: parseRecord(rollout) };
  }

  /** Updates of the past, newest first, without secrets; none when there is no such stack. Pages count from 1. */
  async history({ page, pageSize }: { page: number; pageSize: number }, signal?: AbortSignal): Promise<HistoryEntry[]> {
    const pages = ["--page", String(page), "--page-size", String(pageSize)];
    // Stated, because the CLI's default was another once.
    const result = await this.cli.run(["stack", "history", "--json", "--show-secrets=false", ...pages], signal);
    signal?.throwIfAborted();
    if (isMissing(result)) return [];
    if (result.code !== 0) throw failureOf("reading the stack's history", result);
    return historyEntry.array().parse(JSON.parse(result.stdout));
  }

  /** The outputs of a resource, secrets too, as the stack has them now: also while an update runs. */
  async outputsOf(urn: string, signal?: AbortSignal): Promise<Record<string, unknown> | undefined> {
    const exported = (await this.cli.json(["stack", "export", "--show-secrets"], signal)) as ExportedStack;
    const found = exported.deployment?.resources?.find((resource) => resource.urn === urn);
    return unwrap(found?.outputs) as Record<string, unknown> | undefined;
  }

  /** Whether the stack has a service, finished or not. */
  async holdsService(signal?: AbortSignal): Promise<boolean> {
    const { deployment } = await this.export(signal);
    return deployment?.resources?.some(({ type }) => type === SERVICE) ?? false;
  }

  async create(signal?: AbortSignal): Promise<void> {
    const result = await this.cli.run(["stack", "init"], signal);
    if (result.code !== 0 && !/already exists/.test(result.stderr)) throw failureOf("creating the stack", result);
  }

  /** Runs one update; throws {@link UpdateFailed} with every error that the engine reported. */
  async update({ message, refresh = false, onEvent, signal }: UpdateOptions): Promise<void> {
    const args = ["up", "--yes", "--skip-preview", "--message", message, ...(refresh ? ["--refresh"] : [])];
    await this.change("update", args, onEvent, signal);
  }

  /** Ends everything of the stack; the stack itself stays. */
  async clear(onEvent?: (event: EngineEvent) => void, signal?: AbortSignal): Promise<void> {
    await this.change("destroy", ["destroy", "--yes", "--skip-preview"], onEvent, signal).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    });
  }

  /** Ends everything of the stack, and then the stack itself. */
  async destroy(onEvent?: (event: EngineEvent) => void, signal?: AbortSignal): Promise<void> {
    await this.clear(onEvent, signal);
    const result = await this.cli.run(["stack", "rm", "--yes", "--preserve-config"], signal);
    if (result.code !== 0) throw failureOf("removing the stack", result);
  }

  /**
   * Clears what a killed update left: its language host and plugins, its lock, operations that nobody will finish, and clusters that
   * are in no state. A cluster or load balancer whose creation was under way would never be ended by anything: it is ended
   * here, and made again by the update that still wants it.
   *
   * @returns the logical names of the clusters that the stack holds
   */
  async settle(signal?: AbortSignal): Promise<string[]> {
    endHelpers();
    const settled = await this.withoutPending(signal);
    for (const inputs of strayClusters(this.cli.project, directoriesOf(settled))) {
      await endHalfMade({ type: CLUSTER, inputs: { ...inputs } }, signal);
    }
    await endStrayRayServices(this.cli.project, settled.deployment?.resources ?? [], signal);
    return clustersOf(settled);
  }

  /** Ends an update that goes on though its command was killed; throws {@link StackLocked} for anybody else's. */
  async endOrphan(signal?: AbortSignal): Promise<void> {
    const found = await this.cli.run(["stack", "export"], signal);
    if (isMissing(found)) return;
    // Taking the lock is the only way to learn of one; the state stays as it is then.
    await this.unlocked(async () => this.cli.importState(await this.export(signal), signal), signal);
  }

  private async withoutPending(signal?: AbortSignal): Promise<ExportedStack> {
    const found = await this.export(signal);
    if (pendingOf(found).length === 0) return found;
    // A running update has operations under way as well. Importing needs the lock, so it tells the two apart.
    await this.unlocked(async () => this.cli.importState(await this.export(signal), signal), signal);
    const exported = await this.export(signal);
    const held = exported.deployment?.resources?.map(({ urn }) => urn) ?? [];
    for (const { type, resource } of pendingOf(exported)) {
      // The engine keeps such an operation when a later update, by hand, has made the resource after all.
      const made = resource.urn !== undefined && held.includes(resource.urn);
      if (type === "creating" && !made) await endHalfMade(resource, signal);
    }
    const settled = { ...exported, deployment: { ...exported.deployment, pending_operations: [] } };
    await this.unlocked(() => this.cli.importState(settled, signal), signal);
    return exported;
  }

  private async export(signal?: AbortSignal): Promise<ExportedStack> {
    return (await this.cli.json(["stack", "export"], signal)) as ExportedStack;
  }

  private async change(
    what: string,
    args: readonly string[],
    onEvent: ((event: EngineEvent) => void) | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const errors: string[] = [];
    const result = await this.unlocked(() => {
      errors.length = 0;
      const follow = (event: EngineEvent) => {
        const { severity, message, urn } = event.diagnosticEvent ?? {};
        if (severity === "error" && message !== undefined && message.trim() !== "update failed")
          errors.push(explained(cleaned(message), urn));
        onEvent?.(event);
      };
      return this.cli.runWithEvents(args, follow, signal);
    }, signal);
    if (result.code === 0) return;
    if (result.code === killed) {
      endHelpers();
      throw endedInTheMiddle("the Pulumi engine");
    }
    if (errors.some((message) => providerEnded.test(message))) throw endedInTheMiddle("the provider's process");
    throw errors.length > 0 ? new UpdateFailed([...new Set(errors)].join("\n")) : failureOf(what, result);
  }

  /** Runs a command of the CLI, once more when a dead update's lock was in its way. */
  private async unlocked(command: () => Promise<CliResult>, signal?: AbortSignal): Promise<CliResult> {
    const result = await command();
    if (!isLocked(result)) return result;
    await this.breakDeadLock(result, signal);
    const again = await command();
    if (isLocked(again)) throw lockedByUnknown(again);
    return again;
  }

  /** Takes the lock from an update that is dead or has no driver any more; throws {@link StackLocked} for a living one. */
  private async breakDeadLock(locked: CliResult, signal?: AbortSignal): Promise<void> {
    const holders = lockHolders(locked);
    // A holder that cannot be read may be alive: its lock is not for this command to take.
    if (holders.length < lockCount(locked)) throw lockedByUnknown(locked);
    for (const holder of holders) {
      const here = holder.host === hostname();
      const running = here ? identify(holder.pid) : undefined;
      if (here && running === undefined) continue;
      if (running === undefined || !isOrphan(holder.pid)) {
        throw new StackLocked(
          `another update works on this stack (${holder.user}@${holder.host}, pid ${holder.pid}, since ${holder.since}). ` +
            "Wait until it is done and run the command again. Nothing was changed.",
        );
      }
      signalProcess(running, "SIGINT");
      if (!(await waitForEnd(running, orphanPatienceMs, signal))) {
        throw new StackLocked(
          `the update of a killed command (pid ${holder.pid}) does not end: end that process and run the command again`,
        );
      }
    }
    await this.cli.run(["cancel", "--yes"], signal);
  }
}

interface PendingResource {
  type: string;
  urn?: string;
  inputs?: Record<string, unknown>;
}

interface ExportedStack {
  deployment?: {
    resources?: HeldResource[];
    pending_operations?: Array<{ type: string; resource: PendingResource }>;
  };
}

async function endHalfMade(
  { type, inputs }: PendingResource,
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const half = resourceTypes[type];
  if (half === undefined || typeof inputs?.directory !== "string") return;
  await half.delete(inputs.directory, inputs, { urn: "", name: type, signal, progress: () => {}, warn: () => {} });
}

function endedInTheMiddle(what: string): EngineEnded {
  return new EngineEnded(
    `${what} ended in the middle of the update: somebody killed it, or the host ran out of memory. What it was doing may ` +
      "be half done; run the same command again, which goes on from what really runs.",
  );
}

/** The engine's own words when a plugin's process is gone; a resource's error begins with the resource. */
const providerEnded =
  /^(rpc error: code = Unavailable desc = )?(error reading from server: |transport is closing|connection error: )|^Detected that \S+ exited prematurely/;

/** An engine's error without the list that it wraps around a single problem. */
const cleaned = (message: string) => message.trim().replace(/^1 error occurred:\s*\*\s*/, "");
const isMissing = ({ code, stderr }: CliResult) => code !== 0 && /no stack named|no previous deployment/.test(stderr);
const clustersOf = ({ deployment }: ExportedStack) =>
  (deployment?.resources ?? [])
    .filter(({ type }) => type.endsWith(":Cluster") && type.startsWith("rayshift:"))
    .map(({ urn }) => urn.split("::").at(-1) ?? urn);
/** A cluster's directory is its id. */
const directoriesOf = ({ deployment }: ExportedStack) =>
  (deployment?.resources ?? []).flatMap(({ type, id }) => (type === CLUSTER && id !== undefined ? [id] : []));
const pendingOf = ({ deployment }: ExportedStack) => deployment?.pending_operations ?? [];

interface LockHolder {
  user: string;
  host: string;
  pid: number;
  since: string;
}

const lockCount = ({ stderr, stdout }: CliResult) => Number(/locked by (\d+) lock/.exec(stderr + stdout)?.[1] ?? 1);

function lockedByUnknown({ stderr, stdout }: CliResult): StackLocked {
  const said = `${stderr}\n${stdout}`.trim();
  return new StackLocked(
    `another update works on this stack: ${said}\nWait until it is done and run the command again.`,
  );
}

/** Who holds the lock of a file backend, by the CLI's own words. */
function lockHolders({ stderr, stdout }: CliResult): LockHolder[] {
  const lines = (stderr + stdout).matchAll(/created by (\S+?)@(\S+) \(pid (\d+)\) at (\S+)/g);
  return [...lines].map(([, user = "", host = "", pid = "", since = ""]) => ({ user, host, pid: Number(pid), since }));
}
