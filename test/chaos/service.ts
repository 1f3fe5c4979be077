import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { haproxyFiles } from "../../provider/local/haproxyConfig";
import { processesWithArgument } from "../../provider/local/process";
import { ask, type Endpoint } from "../../rollout/demo/load";
import { status } from "../../rollout/status";
import type { ChaosProject } from "./project";

/** Deploys the first version and gives where users reach the service. */
export async function deployFirst(project: ChaosProject, version: string): Promise<Endpoint> {
  const ran = await project.rayshift("deploy", "-f", project.serviceFile(version));
  if (ran.code !== 0) throw new Error(ran.stdout + ran.stderr);
  const outputs = await project.pulumi("stack", "output", "--json", "--show-secrets");
  const { url, queryAuthToken } = JSON.parse(outputs.stdout) as { url: string; queryAuthToken: string };
  return { url, token: queryAuthToken };
}

/**
 * What is wrong with a service at rest in which `wanted` should run alone: all that the driver, the engine, Ray and
 * HAProxy know of it, and what processes and folders are left of the versions that were there before.
 */
export async function problemsAtRest(
  project: ChaosProject,
  endpoint: Endpoint,
  wanted: string,
  before: readonly string[],
): Promise<string[]> {
  const now = await status({ folder: project.folder });
  const problems = [...now.problems];
  if (now.state !== "RUNNING") problems.push(`the service is ${now.state}`);
  if (now.primary?.version !== wanted) problems.push(`${now.primary?.version} is the primary, not ${wanted}`);
  const all = [...new Set([...before, wanted])].flatMap((version) => [version, `${version}-2`]);
  const running = all.filter((cluster) => project.headPid(cluster) !== undefined);
  if (running.length !== 1) problems.push(`there are clusters of ${running.join(" and ")}`);
  const gone = all.filter((cluster) => cluster !== running[0]);
  problems.push(...project.leftovers(gone).filter((left) => !left.startsWith("load-balancer")));
  const heads = project.heads();
  if (heads.length !== 1) problems.push(`${heads.length} heads run`);
  const proxies = processesWithArgument(haproxyFiles(project.directoryOf("load-balancer")).config);
  if (proxies.length !== 1) problems.push(`${proxies.length} HAProxy processes run`);
  const helpers = project.helpers();
  if (helpers.length > 0) problems.push(`${helpers.length} language hosts or plugins of killed engines run`);
  if (project.isLocked()) problems.push("the stack is locked");
  const { config } = parse(readFileSync(project.project.configFile, "utf8")) as { config: Record<string, unknown> };
  for (const key of ["waypoint", "canaryPercent"]) {
    if (`rayshift:${key}` in config) problems.push(`the config still has ${key}`);
  }
  const ending = await ask(endpoint, "");
  const answer = "error" in ending ? ending.error : ending.body;
  if (answer !== JSON.stringify({ version: wanted })) problems.push(`a request is answered with ${answer}`);
  return problems;
}
