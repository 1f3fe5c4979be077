import { z } from "zod";
import { parseServiceSpec } from "../components/serviceSpec";
import { versionName } from "../components/version";

const configValue = z.object({ value: z.string().optional(), secret: z.boolean().optional() });

/** One update as `pulumi stack history --json` tells it; a secret config value has no `value`. */
export const historyEntry = z.object({
  kind: z.string(),
  message: z.string().default(""),
  /** ISO times, in whole seconds. */
  startTime: z.string(),
  endTime: z.string().optional(),
  result: z.string(),
  config: z.record(z.string(), configValue).default({}),
});
export type HistoryEntry = z.output<typeof historyEntry>;

/** What one command, or one plain `pulumi up`, made of the service; a rollout may have taken several commands. */
export interface PastRollout {
  /** `update`: the version stayed, its settings changed or something was repaired. */
  kind: "firstDeploy" | "rollout" | "inPlace" | "update" | "terminated";
  /** Version in charge before. Absent where there was none, or where the history cannot tell. */
  from?: string;
  /** Version that was wanted. Absent when the service was ended, or where the history cannot tell. */
  to?: string;
  /** `underWay`: neither completed nor rolled back when its last update was done. */
  outcome: "completed" | "rolledBack" | "held" | "underWay" | "failed";
  /** Why it was rolled back by itself. */
  reason?: string;
  /** Percent of the requests that the canary got in the end; only of a rollout that is not over. */
  traffic?: number;
  /** Percent, the last one in use; absent without a limit. */
  surge?: number;
  /** ISO times of the start and of the end of the last update. */
  startedAt: string;
  endedAt?: string;
  /** From one to the other, the time of a hold included. */
  seconds?: number;
  /** Those that failed included. */
  updates: number;
  /** Of its last update. */
  message: string;
}

/**
 * The rollouts that a stack's updates were, both newest first. A pure function.
 *
 * @param namespace of the config: the name of the project
 */
export function pastRollouts(history: readonly HistoryEntry[], namespace: string): PastRollout[] {
  const reader = new HistoryReader();
  for (const entry of history.toReversed()) reader.read(entry, new UpdateConfig(entry, namespace));
  return reader.all().toReversed();
}

/** Goes through the updates from the oldest on. */
class HistoryReader {
  private readonly over: PastRollout[] = [];
  /** What the next update may go on with. */
  private open: PastRollout | undefined;
  private deployed = false;
  /** Version in charge; undefined also where it is not known. */
  private running: string | undefined;

  all(): PastRollout[] {
    return this.open === undefined ? this.over : [...this.over, this.open];
  }

  read(entry: HistoryEntry, config: UpdateConfig): void {
    if (entry.kind === "destroy") this.readEnd(entry);
    else if (entry.kind !== "update") return;
    else if (config.waypoint !== undefined) this.readWaypoint(entry, config, config.waypoint);
    else this.readSettled(entry, config);
  }

  private readEnd(entry: HistoryEntry): void {
    this.begin(entry, { kind: "terminated", from: this.running });
    this.add(entry, "completed");
    if (!succeeded(entry)) return;
    this.deployed = false;
    this.running = undefined;
  }

  /** An update of the driver's on the way, or the one that goes back at once. */
  private readWaypoint(entry: HistoryEntry, config: UpdateConfig, at: Waypoint): void {
    const { primary: from, startedAt } = at;
    this.deployed = true;
    this.running = from;
    const to = at.immediate ? undefined : at.canary;
    const goesOn = this.open?.kind === "rollout" && (to ?? this.open.to) === this.open.to;
    if (!goesOn) this.begin(entry, { kind: "rollout", from, to, startedAt });
    const rollout = this.open!;
    if (at.surge !== undefined) rollout.surge = at.surge;
    if (config.version === from || at.immediate) this.explain(config);
    const held = at.canaryTraffic === config.canaryPercent;
    if (at.immediate) this.add(entry, "rolledBack");
    else this.add(entry, held ? "held" : "underWay", at.canaryTraffic);
  }

  /** An update after which one version runs alone, or a plain one that holds a split. */
  private readSettled(entry: HistoryEntry, config: UpdateConfig): void {
    if (this.open?.kind === "rollout" && this.readOn(entry, config, this.open)) return;
    const { running } = this;
    const { version, canaryPercent = 100, maxSurgePercent: surge } = config;
    if (!this.deployed) {
      this.goOnOrBegin(entry, { kind: "firstDeploy", to: version });
      this.settle(entry, version);
    } else if (version === undefined || version === running) {
      this.begin(entry, { kind: "update", from: running, to: running });
      this.add(entry, "completed");
    } else if (config.inPlace) {
      this.goOnOrBegin(entry, { kind: "inPlace", from: running, to: version });
      this.settle(entry, version);
    } else {
      this.begin(entry, { kind: "rollout", from: running, to: version, surge });
      this.advance(entry, version, canaryPercent);
    }
  }

  /** Whether the update goes on with a rollout, either way. */
  private readOn(entry: HistoryEntry, config: UpdateConfig, { from, to, traffic }: PastRollout): boolean {
    const { version, canaryPercent = 100 } = config;
    // Of an encrypted service the history does not tell the version; a rollout at its end completes.
    const wanted = version ?? (canaryPercent < 100 || traffic === 100 ? to : from);
    if (wanted === from) {
      this.explain(config);
      this.add(entry, "rolledBack");
    } else if (wanted === to) this.advance(entry, to, canaryPercent);
    return wanted === from || wanted === to;
  }

  private advance(entry: HistoryEntry, version: string | undefined, traffic: number): void {
    if (traffic < 100) this.add(entry, "held", traffic);
    else this.settle(entry, version);
  }

  private settle(entry: HistoryEntry, version: string | undefined): void {
    this.add(entry, "completed");
    if (!succeeded(entry)) return;
    this.deployed = true;
    this.running = version;
  }

  /** A try that failed before is one with this. */
  private goOnOrBegin(entry: HistoryEntry, about: Beginning): void {
    if (this.open?.kind !== about.kind || this.open.to !== about.to) this.begin(entry, about);
  }

  private begin(entry: HistoryEntry, about: Beginning): void {
    const { kind, from, to, surge, startedAt = entry.startTime } = about;
    this.close();
    this.open = {
      kind,
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      outcome: "underWay",
      ...(surge === undefined ? {} : { surge }),
      startedAt,
      updates: 0,
      message: "",
    };
  }

  /** One more update of what is open, and where it leads when it succeeds. */
  private add(entry: HistoryEntry, outcome: PastRollout["outcome"], traffic?: number): void {
    const open = this.open!;
    const { endTime, message } = entry;
    open.updates += 1;
    open.message = message;
    open.outcome = succeeded(entry) ? outcome : entry.result === "failed" ? "failed" : "underWay";
    if (endTime !== undefined) {
      open.endedAt = endTime;
      open.seconds = Math.max(0, (Date.parse(endTime) - Date.parse(open.startedAt)) / 1000);
    }
    if (succeeded(entry) && traffic !== undefined) open.traffic = traffic;
    const over = open.outcome === "completed" || open.outcome === "rolledBack";
    if (over) delete open.traffic;
    if (over || (open.kind === "update" && succeeded(entry))) this.close();
  }

  private close(): void {
    this.over.push(...(this.open === undefined ? [] : [this.open]));
    this.open = undefined;
  }

  /** Notes why the driver goes back, as it left it in the config. */
  private explain({ rejected }: UpdateConfig): void {
    const { open } = this;
    if (open === undefined || rejected === undefined || rejected.version !== open.to) return;
    if (Date.parse(rejected.at) >= Date.parse(open.startedAt)) open.reason = rejected.reason;
  }
}

interface Beginning {
  kind: PastRollout["kind"];
  from?: string | undefined;
  to?: string | undefined;
  surge?: number | undefined;
  startedAt?: string | undefined;
}

const succeeded = ({ result }: HistoryEntry) => result === "succeeded";

const waypointSchema = z.object({
  primary: z.string(),
  canary: z.string(),
  canaryTraffic: z.number(),
  startedAt: z.string(),
  surge: z.number().optional(),
  immediate: z.boolean().default(false),
});
type Waypoint = z.output<typeof waypointSchema>;

const rejectedSchema = z.object({ version: z.string(), reason: z.string(), at: z.string() });

/** The config of one update, as far as the history tells it. */
class UpdateConfig {
  constructor(
    private readonly entry: HistoryEntry,
    private readonly namespace: string,
  ) {}

  get waypoint(): Waypoint | undefined {
    return waypointSchema.safeParse(this.json("waypoint")).data;
  }

  get rejected(): z.output<typeof rejectedSchema> | undefined {
    return rejectedSchema.safeParse(this.json("rejected")).data;
  }

  get inPlace(): boolean {
    return this.text("inPlace") === "true";
  }

  get canaryPercent(): number | undefined {
    return this.number("canaryPercent");
  }

  get maxSurgePercent(): number | undefined {
    return this.number("maxSurgePercent");
  }

  /** Name of the version wanted; undefined where the service is encrypted or its folder's content not recorded. */
  get version(): string | undefined {
    const service = this.json("service") as { version_name?: unknown; working_dir?: unknown } | undefined;
    if (typeof service?.version_name === "string") return service.version_name;
    const digest = this.text("workingDirDigest");
    if (service === undefined || (service.working_dir !== undefined && digest === undefined)) return undefined;
    try {
      return versionName(parseServiceSpec(service).spec, digest);
    } catch {
      // By the rules of another release than this one.
      return undefined;
    }
  }

  private number(key: string): number | undefined {
    const text = this.text(key);
    return text === undefined || Number.isNaN(Number(text)) ? undefined : Number(text);
  }

  private json(key: string): unknown {
    try {
      return JSON.parse(this.text(key) ?? "null") ?? undefined;
    } catch {
      return undefined;
    }
  }

  private text(key: string): string | undefined {
    return this.entry.config[`${this.namespace}:${key}`]?.value;
  }
}
