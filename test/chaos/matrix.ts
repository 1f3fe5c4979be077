import type { Command } from "../sim/schedule";
import type { Instant, LogLine, Role, Victim } from "./crash";
import { argumentsOf, mainScenarios, type Scenario } from "./scenarios";
import type { Stage, Watched } from "./stage";

/** The versions that take turns. */
export const pair = ["v1", "v2"] as const;
export type Version = (typeof pair)[number];

/** One kill at one instant. */
export interface Case {
  scenario: Scenario;
  at: Instant;
  victim: Victim;
  /** What is done to what, for people. */
  detail: string;
}

export interface CaseEnd {
  /** Everything that is not as it should be. */
  problems: string[];
  /** Exit codes of the command that was broken off (-1: killed) and of the same one again. */
  codes: [number, number];
  /** The last words of the command that was broken off. */
  said: string;
  /** Whether anything was killed. */
  reached: boolean;
  seconds: number;
}

export interface RelayEnd {
  problems: string[];
  codes: number[];
  /** How many of the kills had a victim. */
  killed: number;
  /** Names of all effects that the commands had. */
  effects: Set<string>;
}

const rollout = mainScenarios[0]!;
/** A preview takes as long as an update. */
const previewEvery = 4;

export const describeCase = ({ scenario, at, victim, detail }: Case) =>
  `${scenario.name}: ${victim} killed ${at.when} ${at.name} #${at.occurrence} (${detail.slice(0, 60)})`;

/** Two versions that take turns as the primary, so that each case begins with the state that the last one left. */
export class Matrix {
  primary: Version = "v1";
  private done = 0;

  constructor(private readonly stage: Stage) {}

  begin(): Promise<void> {
    return this.stage.begin(this.primary);
  }

  /** The effects of a scenario in their order, as the code publishes them. */
  async record(scenario: Scenario): Promise<LogLine[]> {
    await this.prepare(scenario);
    const ran = await this.stage.watched(this.command(scenario));
    if (ran.code !== 0) throw new Error(ran.stdout + ran.stderr);
    this.primary = this.after(scenario);
    return ran.log;
  }

  /** Breaks a command off, gives it again, and gives back everything that is not as it should be. */
  async run(each: Case): Promise<CaseEnd> {
    const began = Date.now();
    const { scenario, at, victim } = each;
    await this.prepare(scenario);
    const args = this.command(scenario);
    let crashed: Watched | undefined;
    const { result, problems } = await this.stage.observed(
      async () => {
        crashed = await this.stage.watched(args, { at, victim });
        return this.stage.rayshift(...args);
      },
      () => haproxyKills(crashed),
    );
    const { code, stdout, stderr } = result;
    // What was broken off may have been done: then nothing is left to roll back.
    const nothingLeft = scenario.leaves === "primary" && code === 2 && /no rollout is under way/.test(stderr);
    if (code !== 0 && !nothingLeft) problems.push(`the same command again ends with ${code}: ${stdout}${stderr}`);
    // What is killed here says nothing of the version.
    if (crashed?.code === 3) problems.push("the version was rejected for the kill");
    problems.push(...(await this.rest(this.after(scenario), this.done++ % previewEvery === 0)));
    if (problems.length > 0 && crashed !== undefined) {
      problems.push(`the command that was broken off ended with ${crashed.code}: ${crashed.stdout}${crashed.stderr}`);
    }
    const seconds = (Date.now() - began) / 1000;
    const said = crashed?.stderr.trim().split("\n").at(-1) ?? "";
    return { problems, codes: [crashed?.code ?? 0, code], said, reached: killIn(crashed) !== undefined, seconds };
  }

  /**
   * Breaks a rollout off again and again, each time at the given line of the command's log, and begins the next rollout
   * when one is done; at last the same command is left alone.
   */
  async relay(kills: readonly { at: number; victim: Victim }[]): Promise<RelayEnd> {
    const ends: Watched[] = [];
    const { result, problems } = await this.stage.observed(
      async () => {
        for (const kill of kills) {
          const ran = await this.stage.watched(this.command(rollout), kill);
          ends.push(ran);
          if (ran.code === 0) this.primary = this.other;
        }
        return this.stage.rayshift(...this.command(rollout));
      },
      () => ends.flatMap(haproxyKills),
    );
    const { code, stdout, stderr } = result;
    if (code !== 0) problems.push(`the same command again ends with ${code}: ${stdout}${stderr}`);
    if (ends.some((end) => end.code === 3)) problems.push("the version was rejected for a kill");
    problems.push(...(await this.rest(this.other, true)));
    if (problems.length > 0) problems.push(...ends.map((end) => `ended with ${end.code}: ${end.stdout}${end.stderr}`));
    const effects = new Set(ends.flatMap(({ log }) => log.flatMap((line) => ("name" in line ? line.name : []))));
    return { problems, codes: ends.map((end) => end.code), killed: ends.filter(killIn).length, effects };
  }

  /** What is wrong at rest, and then the state from which the next case begins. */
  private async rest(wanted: Version, preview: boolean): Promise<string[]> {
    const problems = await this.stage.problemsAtRest(wanted);
    if (preview) problems.push(...(await this.stage.problemsOfPreview()));
    if (problems.length > 0) await this.stage.rayshift("deploy", "-f", this.stage.serviceFile(wanted));
    this.primary = wanted;
    return problems;
  }

  private get other(): Version {
    return this.primary === "v1" ? "v2" : "v1";
  }

  private after({ leaves }: Scenario): Version {
    return leaves === "primary" ? this.primary : this.other;
  }

  private async prepare({ before }: Scenario): Promise<void> {
    for (const command of before?.(this.other) ?? []) {
      const ran = await this.stage.rayshift(...this.words(command));
      if (ran.code !== 0) throw new Error(`no state to begin with: ${ran.stdout}${ran.stderr}`);
    }
  }

  private command(scenario: Scenario): string[] {
    return this.words(scenario.command(this.other));
  }

  private words(command: Command): string[] {
    return argumentsOf(command, (version) => this.stage.serviceFile(version));
  }
}

const killIn = (ran: Watched | undefined) => ran?.log.find((line) => "killed" in line);

/** When HAProxy was killed, ms. */
function haproxyKills(ran: Watched | undefined): number[] {
  const kill = killIn(ran);
  return kill?.killed === "haproxy" ? [kill.at] : [];
}

/** Victims that an effect in a process can lose: the driver has neither engine nor provider while it has effects itself. */
export const victimsOf = (role: Role): readonly Victim[] =>
  role === "driver" ? ["driver", "haproxy"] : ["driver", "engine", "provider", "haproxy"];

/** Every instant of a recording with every victim that it can have there. */
export function casesOf(scenario: Scenario, log: readonly LogLine[], victims = victimsOf("provider")): Case[] {
  const count = new Map<string, number>();
  return log.flatMap((line) => {
    if (!("name" in line)) return [];
    const { name, when, role, detail } = line;
    const key = `${name} ${when}`;
    const occurrence = count.get(key) ?? 0;
    count.set(key, occurrence + 1);
    const possible = victimsOf(role).filter((victim) => victims.includes(victim));
    return possible.map((victim): Case => ({ scenario, at: { name, occurrence, when }, victim, detail }));
  });
}
