import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readWeights, tell } from "../../provider/local/haproxyAdmin";
import { TRAFFIC } from "../../provider/local/haproxyConfig";
import type { Endpoint } from "../../rollout/demo/load";
import { replicas } from "../e2e/project";
import { failures, observed } from "./observed";
import type { ChaosProject } from "./project";
import {
  type Command,
  describeStep,
  excused,
  type Meddling,
  mostSurge,
  type Step,
  scheduleOf,
  type Which,
} from "./schedule";
import { deployFirst, problemsAtRest } from "./service";
import { problemsOfPreview, type Watched } from "./stage";

/** How long after a command's start the replicas of a version become unhealthy that is to. */
const breaksAfterMs = 7000;
/** Commands that it may take until one succeeds after the last fault. */
const quiescingCommands = 3;
const good = ["v1", "v2", "v3"];

/** Runs schedules of commands and faults one after the other on one service. */
export class Chaos {
  /** The version in charge, and the two others. */
  private order = good;
  private endpoint: Endpoint = { url: "", token: undefined };
  private readonly deployed = new Set<string>();

  constructor(
    private readonly project: ChaosProject,
    private readonly print: (line: string) => void = () => {},
  ) {}

  async begin(): Promise<void> {
    this.endpoint = await deployFirst(this.project, this.order[0]!);
    this.deployed.add(this.order[0]!);
  }

  /** Gives back everything that is not as it should be. */
  async run(seed: number): Promise<string[]> {
    const steps = scheduleOf(seed);
    const named = steps.flatMap(({ command }, index) => nameOf(command, seed, index, this.order) ?? []);
    const names = [...new Set([...good, ...named])];
    for (const name of names) this.deployed.add(name);
    const surge = mostSurge(steps);
    // Both clusters round their nodes up.
    const limits = { full: replicas, surge, workers: Math.ceil((replicas * (100 + surge)) / 100) + 1, versions: names };
    const excuses = excused(steps);
    const last = this.order[seed % 2]!;
    const haproxyKilledAt: number[] = [];
    const unexpected: string[] = [];
    const seen = await observed(this.project, this.endpoint, limits, async () => {
      for (const [index, step] of steps.entries()) {
        const { log, code, stderr } = await this.step(step, seed, index);
        const kill = log.find((line) => "killed" in line);
        if (code === 1 && kill === undefined && !mayFail(step)) {
          unexpected.push(`${describeStep(step)} ends with 1: ${stderr.trim()}`);
        }
        if (kill?.killed === "haproxy") haproxyKilledAt.push(kill.at);
      }
      return this.quiesce(last, surge);
    });
    const problems = seen.violations.filter((violation) => ![...excuses].some((name) => violation.includes(name)));
    if (!excuses.has("I6")) problems.push(...failures(seen.requests, haproxyKilledAt));
    problems.push(
      ...unexpected,
      ...seen.result,
      ...(await problemsAtRest(this.project, this.endpoint, last, [...this.deployed])),
    );
    if (seed % 3 === 0) problems.push(...(await problemsOfPreview(this.project)));
    this.order = [last, ...good.filter((name) => name !== last)];
    return problems;
  }

  private async step({ before, command, fault }: Step, seed: number, index: number): Promise<Watched> {
    if (before !== undefined) await this.meddle(before);
    const name = nameOf(command, seed, index, this.order);
    const breaks = join(this.project.folder, `break-${name}`);
    const breaking = new AbortController();
    if (command.kind === "deploy" && command.quality === "breaks") {
      const breakLater = async () => {
        await sleep(breaksAfterMs, undefined, { signal: breaking.signal });
        writeFileSync(breaks, "");
      };
      void breakLater().catch(() => {});
    }
    const kill = fault?.kind === "kill" ? { at: fault.effect, victim: fault.victim } : undefined;
    const interrupt = fault?.kind === "interrupt" ? fault.afterMs : undefined;
    const ran = await this.project.watched(this.argumentsOf(command, name, breaks), kill, interrupt);
    breaking.abort();
    rmSync(breaks, { force: true });
    const killed = ran.log.some((line) => "killed" in line);
    this.print(
      `  ${describeStep({ ...(before ? { before } : {}), command, ...(fault ? { fault } : {}) })}: ` +
        `${ran.code}${fault?.kind === "kill" && !killed ? ", nothing killed" : ""} ${lastLine(ran.stderr)}`,
    );
    return ran;
  }

  private argumentsOf(command: Command, name: string | undefined, breaks: string): string[] {
    const surge = command.surge === undefined ? [] : ["--max-surge-percent", String(command.surge)];
    if (command.kind === "rollback" || name === undefined) return ["rollback", ...surge];
    const environment: Record<string, string> =
      command.quality === "fails" ? { FAIL: "no weights" } : command.quality === "breaks" ? { BREAK: breaks } : {};
    const percent = command.canaryPercent === undefined ? [] : ["--canary-percent", String(command.canaryPercent)];
    return ["deploy", "-f", this.project.serviceFile(name, environment), ...percent, ...surge];
  }

  private async meddle(meddling: Meddling): Promise<void> {
    const socket = join(this.project.directoryOf("load-balancer"), "admin.sock");
    const weights = await readWeights(socket).catch(() => ({}));
    const versions = Object.keys(weights);
    if (meddling.kind === "weights") {
      const percents = versions.map((version, index) => {
        return `set server ${TRAFFIC}/${version} weight ${index === 0 ? meddling.percent : 100 - meddling.percent}`;
      });
      await tell(socket, percents).catch(() => {});
      return;
    }
    const [primary, canary] = versions;
    const pid = this.project.headPid((meddling.of === "primary" ? primary : canary) ?? "");
    if (pid !== undefined && this.project.heads().includes(pid)) process.kill(pid, "SIGKILL");
  }

  /** Until a command succeeds, which then has to have left what it was asked for. */
  private async quiesce(version: string, surge: number): Promise<string[]> {
    const said: string[] = [];
    for (let attempt = 0; attempt < quiescingCommands; attempt++) {
      const flags = ["--max-surge-percent", String(surge)];
      const ran = await this.project.rayshift("deploy", "-f", this.project.serviceFile(version), ...flags);
      this.print(`  deploy ${version} at last: ${ran.code} ${lastLine(ran.stderr)}`);
      if (ran.code === 0) return [];
      said.push(`deploy ${version} at last ends with ${ran.code}: ${ran.stderr.trim()}`);
    }
    return said;
  }
}

/** A bad version has a name of its own: it may be known as rejected later. */
function nameOf(command: Command, seed: number, index: number, order: readonly string[]): string | undefined {
  if (command.kind === "rollback") return undefined;
  if (command.quality !== "good") return `${command.quality}-${seed}-${index}`;
  const place: Record<Which, number> = { first: 0, second: 1, third: 2 };
  return order[place[command.which]];
}

/** Whether a command of which nothing was killed may end with 1: what was changed by hand it repairs or refuses. */
const mayFail = ({ before, command, fault }: Step) =>
  before?.kind === "head" || fault?.kind === "interrupt" || (command.kind === "deploy" && command.quality === "breaks");

const lastLine = (text: string) => text.trim().split("\n").at(-1) ?? "";
