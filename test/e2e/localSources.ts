import { runtimeDirectory } from "../../components/local/host";
import { readRecord } from "../../provider/local/clusterDirectory";
import { readWeights } from "../../provider/local/haproxyAdmin";
import { isAlive } from "../../provider/local/process";
import { clusterFiles } from "../../provider/local/rayHead";
import { liveWorkerCount } from "../../provider/local/rayProcesses";
import { getApplications } from "../../provider/serve/dashboard";
import type { Project } from "../../rollout/project";
import type { Seen, Sources } from "./invariants";

/** A service on this host, by its processes, Ray and HAProxy. */
export function localSources({ home, name, stack }: Project, versions: readonly string[]): Sources {
  const directoryOf = (part: string) => runtimeDirectory({ home, project: name, stack, part });
  const cluster = async (version: string): Promise<Seen> => {
    const directory = directoryOf(`cluster-${version}`);
    const record = readRecord(directory);
    const runs = record?.head !== undefined && isAlive(record.head);
    if (record === undefined || !runs) return { version, observation: undefined, runs };
    const address = {
      dashboardUrl: `http://127.0.0.1:${record.ports.dashboard}`,
      dashboardTokenFile: clusterFiles(directory).token,
    };
    const observation = await getApplications(address).catch(() => undefined);
    return { version, observation, runs };
  };
  return {
    clusters: () => Promise.all(versions.map(cluster)),
    workers: async (running) =>
      Object.fromEntries(running.map((version) => [version, liveWorkerCount(directoryOf(`cluster-${version}`))])),
    weights: async () => {
      const weights = await readWeights(`${directoryOf("load-balancer")}/admin.sock`).catch(() => undefined);
      return weights && Object.fromEntries(Object.entries(weights).map(([version, { weight }]) => [version, weight]));
    },
  };
}
