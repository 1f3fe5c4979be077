import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { readRecord } from "../../provider/local/clusterDirectory";
import { readWeights } from "../../provider/local/haproxyAdmin";
import { clusterFiles } from "../../provider/local/rayHead";
import { getApplications } from "../../provider/serve/dashboard";
import { unhealthyReason } from "../../provider/serve/health";
import { deploy, RolledBack, rollback, terminate } from "../../rollout/index";
import { TestProject } from "../e2e/project";
import { root } from "../setup/support";
import type { Ran } from "../userProject";
import { measureKubernetes } from "./kubernetes";
import { measureLoad } from "./load";

/**
 * `npm run bench`: what the driver adds to Pulumi, and how fast a bad canary loses its traffic. `npm run bench -- load`: what
 * the service takes. `npm run bench -- kubernetes`: a rollout beside KubeRay's own. Every figure is a ratio to, or stands
 * beside, one that was taken in the same run: the machines are noisy.
 */

const rounds = 7;

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const seconds = (value: number) => `${value.toFixed(2)} s`;

async function timed(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  return (performance.now() - began) / 1000;
}

function succeeded({ code, stdout, stderr }: Ran): void {
  if (code !== 0) throw new Error(stdout + stderr);
}

/** A program with one resource of the same provider, run by the same CLI on the same backend. */
class BareProgram {
  private readonly folder: string;
  private bytes = 20;

  constructor(private readonly project: TestProject) {
    this.folder = join(project.folder, "bare");
    mkdirSync(this.folder);
    const lines = [
      "name: bare",
      "runtime: {name: nodejs, options: {typescript: false}}",
      "main: index.js",
      `plugins: {providers: [{name: rayserve, path: ${join(root, "provider", "bin")}}]}`,
    ];
    writeFileSync(join(this.folder, "Pulumi.yaml"), `${lines.join("\n")}\n`);
    writeFileSync(
      join(this.folder, "index.js"),
      `const pulumi = require("@pulumi/pulumi");
class Token extends pulumi.CustomResource {
  constructor(name, args) { super("rayserve:index:Token", name, { value: undefined, ...args }); }
}
new Token("token", { bytes: new pulumi.Config().requireNumber("bytes") });
`,
    );
    symlinkSync(join(root, "node_modules"), join(this.folder, "node_modules"));
  }

  async init(): Promise<void> {
    succeeded(await this.pulumi("stack", "init"));
    await this.update();
  }

  async update(): Promise<void> {
    this.bytes += 1;
    succeeded(await this.pulumi("up", "--yes", "--skip-preview", "-c", `bytes=${this.bytes}`));
  }

  async updateNothing(): Promise<void> {
    succeeded(await this.pulumi("up", "--yes", "--skip-preview"));
  }

  private pulumi(...args: string[]): Promise<Ran> {
    return this.project.pulumiIn(this.folder, ...args);
  }
}

/** One step of the driver that Ray has no part in: another split, config edit and observation included. */
async function oneStep(project: TestProject, canaryPercent: number): Promise<number> {
  let took = 0;
  await deploy({
    folder: project.folder,
    service: project.service("v2"),
    canaryPercent,
    onEvent: (event) => {
      if (event.event === "reached") took = event.seconds;
    },
  });
  return took;
}

/** From Ray's first word that the canary is unhealthy to the moment that HAProxy sends it nothing. */
async function timeToZero(project: TestProject, version: string): Promise<number> {
  const flag = join(project.folder, `break-${version}`);
  const directory = project.directoryOf(`cluster-${version}`);
  const admin = join(project.directoryOf("load-balancer"), "admin.sock");
  let held: () => void;
  const half = new Promise<void>((resolve) => {
    held = resolve;
  });
  const rollout = deploy({
    folder: project.folder,
    service: project.service(version, { BREAK: flag, DELAY: "15" }),
    maxSurgePercent: 50,
    onEvent: (event) => {
      if (event.event === "reached" && event.waypoint.canaryTraffic === 50) held();
    },
  }).catch((error: unknown) => {
    if (!(error instanceof RolledBack)) throw error;
  });
  await Promise.race([half, rollout]);
  writeFileSync(flag, "");
  const address = {
    dashboardUrl: `http://127.0.0.1:${readRecord(directory)?.ports.dashboard}`,
    dashboardTokenFile: clusterFiles(directory).token,
  };
  while (unhealthyReason(await getApplications(address)) === undefined) await sleep(50);
  const began = performance.now();
  while (((await readWeights(admin))[version]?.weight ?? 0) > 0) await sleep(10);
  const took = (performance.now() - began) / 1000;
  await rollout;
  return took;
}

async function measureDriver(project: TestProject): Promise<string[]> {
  const bare = new BareProgram(project);
  await bare.init();
  await deploy({ folder: project.folder, service: project.service("v1") });

  const nothing = { ours: [] as number[], bare: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    nothing.bare.push(await timed(() => bare.updateNothing()));
    nothing.ours.push(await timed(async () => succeeded(await project.pulumi("up", "--yes", "--skip-preview"))));
  }

  await oneStep(project, 10);
  const step = { ours: [] as number[], bare: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    step.bare.push(await timed(() => bare.update()));
    step.ours.push(await oneStep(project, 11 + round));
  }
  await rollback({ folder: project.folder });

  const toZero = [await timeToZero(project, "v3"), await timeToZero(project, "v4")];

  const report = (name: string, { ours, bare: other }: typeof step, goal: string) =>
    `${name}: ${(median(ours) / median(other)).toFixed(2)} (${seconds(median(ours))} to ${seconds(median(other))}, median of ${rounds}; ${goal})`;
  return [
    report("one driver step to a bare update of one resource", step, "goal at most 1.5"),
    report("a no-op `pulumi up` of the program to a bare one", nothing, "no goal"),
    `unhealthy in Ray's words to 0% of the traffic: ${toZero.map(seconds).join(" and ")} (goal at most 3 s)`,
  ];
}

async function main(): Promise<void> {
  const measures: Record<string, (project: TestProject) => Promise<string[]>> = {
    driver: measureDriver,
    load: measureLoad,
  };
  const [name = "driver"] = process.argv.slice(2);
  if (name === "kubernetes") {
    await measureKubernetes((line) => process.stdout.write(`${line}\n`));
    return;
  }
  const measure = measures[name];
  if (measure === undefined) throw new Error(`usage: npm run bench [-- ${Object.keys(measures).join("|")}|kubernetes]`);
  const project = new TestProject();
  try {
    process.stdout.write(`${(await measure(project)).join("\n")}\n`);
  } finally {
    await terminate({ folder: project.folder }).catch(() => undefined);
    await project.remove(["v1", "v2", "v3", "v4"]);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : error}\n`);
  process.exitCode = 1;
});
