import type { Endpoint } from "../../rollout/demo/load";
import { replicas } from "../e2e/project";
import type { CrashOrder, Victim } from "./crash";
import { failures, observed } from "./observed";
import type { ChaosProject } from "./project";
import { deployFirst, problemsAtRest } from "./service";
import { problemsOfPreview, type Stage } from "./stage";

/** A service on this host; only Ray is a fake. */
export class LocalStage implements Stage {
  readonly victims: readonly Victim[] = ["driver", "engine", "provider", "haproxy"];
  private endpoint: Endpoint = { url: "", token: undefined };
  /** 150% of the replicas, a node each. */
  private readonly limits;

  constructor(
    private readonly project: ChaosProject,
    private readonly versions: readonly string[],
  ) {
    this.limits = { full: replicas, surge: 50, workers: (replicas * 150) / 100, versions };
  }

  async begin(version: string): Promise<void> {
    this.endpoint = await deployFirst(this.project, version);
  }

  rayshift(...args: string[]) {
    return this.project.rayshift(...args);
  }

  watched(args: string[], kill?: CrashOrder["kill"]) {
    return this.project.watched(args, kill);
  }

  serviceFile(version: string): string {
    return this.project.serviceFile(version);
  }

  async observed<T>(run: () => Promise<T>, balancerKills: () => number[] = () => []) {
    const { result, violations, requests } = await observed(this.project, this.endpoint, this.limits, run);
    return { result, problems: [...violations, ...failures(requests, balancerKills())] };
  }

  problemsAtRest(wanted: string): Promise<string[]> {
    return problemsAtRest(this.project, this.endpoint, wanted, this.versions);
  }

  problemsOfPreview(): Promise<string[]> {
    return problemsOfPreview(this.project);
  }
}
