import { Agent } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Counts, count, noRequests, quantile } from "../../rollout/demo/counts";
import { ask, type Endpoint, Load } from "../../rollout/demo/load";
import { deploy } from "../../rollout/index";
import type { TestProject } from "../e2e/project";

/**
 * What the service takes while it rests, and what a whole rollout under load does to its requests. The load is on loopback
 * only, and ends by itself.
 */

const openAtATime = [4, 20, 50, 200, 500];
const secondsEach = 15;
const perSecond = 80;
const restSeconds = 30;

/** Answers a second with so many requests open at a time. */
async function closedLoop(endpoint: Endpoint, open: number): Promise<number> {
  const counts = noRequests();
  const agent = new Agent({ keepAlive: true });
  const end = Date.now() + secondsEach * 1000;
  const client = async () => {
    while (Date.now() < end) {
      const began = performance.now();
      count(counts, await ask(endpoint, "", {}, agent), performance.now() - began);
    }
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: open }, client));
  agent.destroy();
  return (counts.sent - counts.failed) / ((performance.now() - began) / 1000);
}

async function underLoad(
  endpoint: Endpoint,
  work: () => Promise<unknown>,
): Promise<{ counts: Counts; seconds: number }> {
  const load = new Load(endpoint, perSecond);
  const began = performance.now();
  await work().finally(() => load.stop());
  return { counts: load.counts, seconds: (performance.now() - began) / 1000 };
}

function describe(what: string, { counts, seconds }: { counts: Counts; seconds: number }): string {
  const times = [0.5, 0.99, 1].map((share) => quantile(counts, share));
  return (
    `${what} at ${perSecond} requests a second: ${seconds.toFixed(0)} s, ${counts.sent} requests, ${counts.failed} failed; ` +
    `half within ${times[0]} ms, 99% within ${times[1]} ms, all within ${times[2]} ms`
  );
}

/** The lines of the report; the service runs its first version when it begins, and its second at the end. */
export async function measureLoad(project: TestProject): Promise<string[]> {
  const { url } = await deploy({ folder: project.folder, service: project.service("v1") });
  const token = await project.pulumi("stack", "output", "queryAuthToken", "--show-secrets");
  const endpoint = { url, token: token.stdout.trim() };
  const lines: string[] = [];
  for (const open of openAtATime) {
    lines.push(`${open} requests open at a time: ${(await closedLoop(endpoint, open)).toFixed(0)} answers a second`);
  }
  lines.push(describe("at rest", await underLoad(endpoint, () => sleep(restSeconds * 1000))));
  const rollout = () => deploy({ folder: project.folder, service: project.service("v2"), maxSurgePercent: 50 });
  lines.push(describe("a rollout under a surge of 50%", await underLoad(endpoint, rollout)));
  return lines;
}
