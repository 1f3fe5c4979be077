import { runtimeDirectory } from "../../components/local/host";
import { readRecord } from "../../provider/local/clusterDirectory";
import { clusterFiles } from "../../provider/local/rayHead";
import { liveWorkerCount } from "../../provider/local/rayProcesses";
import { getApplications } from "../../provider/serve/dashboard";
import { capacityInUse, deploymentsOf } from "../../provider/serve/observation";
import type { Project } from "../project";
import { type ClusterSample, noPeaks, type Peaks, withSample } from "./peaks";

const intervalMs = 200;

/**
 * Watches the clusters themselves, without the driver: it finds them where they run, so it sees a canary from its first
 * moment, before any update has recorded it.
 */
export class Sampler {
  private peaks: Peaks = noPeaks;
  private last: ClusterSample[] = [];
  private readonly timer: NodeJS.Timeout;
  private looking: Promise<void> | undefined;

  constructor(
    private readonly project: Project,
    private readonly versions: readonly string[],
  ) {
    this.timer = setInterval(() => {
      this.looking ??= this.look().finally(() => {
        this.looking = undefined;
      });
    }, intervalMs);
  }

  async stop(): Promise<Peaks> {
    clearInterval(this.timer);
    await this.looking;
    return this.peaks;
  }

  private async look(): Promise<void> {
    const samples = await Promise.all(this.versions.map((version) => this.sample(version)));
    this.last = samples.filter((sample) => sample !== undefined);
    this.peaks = withSample(this.peaks, this.last);
  }

  /** Undefined when the version has no cluster. One that does not answer counts with what it had before. */
  private async sample(version: string): Promise<ClusterSample | undefined> {
    const { home, name, stack } = this.project;
    const directory = runtimeDirectory({ home, project: name, stack, part: `cluster-${version}` });
    const record = readRecord(directory);
    if (record === undefined) return undefined;
    const workers = liveWorkerCount(directory);
    const { dashboard } = record.ports;
    const address = {
      dashboardUrl: `http://127.0.0.1:${dashboard}`,
      dashboardTokenFile: clusterFiles(directory).token,
    };
    const observed = await getApplications(address).catch(() => undefined);
    if (observed === undefined) {
      const { capacity = 0, replicas = 0 } = this.last.find((sample) => sample.version === version) ?? {};
      return { version, capacity, replicas, workers };
    }
    const replicas = deploymentsOf(observed).reduce((sum, { observed: deployment }) => sum + deployment.running, 0);
    return { version, capacity: capacityInUse(observed), replicas, workers };
  }
}
