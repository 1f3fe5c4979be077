import { join } from "node:path";
import { ConfigFile } from "../configFile";
import {
  deploy,
  type OnEvent,
  Refused,
  RolledBack,
  type RolloutEvent,
  status,
  terminate,
  UpdateFailed,
} from "../index";
import { openProject, packageRoot } from "../project";
import { openSession } from "../session";
import { deployedOutputs } from "../watchedUpdate";
import { versionIn } from "./counts";
import { ask, type Endpoint, Load } from "./load";
import { limitsUnder } from "./peaks";
import { Sampler } from "./sampler";
import { measured, type ReachedWaypoint, type Summary } from "./summary";

/** A stack of its own: what somebody has deployed to another one is left alone, and its config file is not under version control. */
export const demoStack = "demo";
export const serviceName = "language-id";
export const versions = { first: "v1", good: "v2", broken: "v3" };
const surge = 50;
const fullReplicas = 4;
/** Short, so that workers without replicas are seen to go. */
const idleTimeoutSeconds = 5;

export interface DemoOptions {
  /** Requests a second. */
  rps: number;
  onEvent: OnEvent;
  signal: AbortSignal;
}

/** How the service is reached once the demo is over. */
export interface Address {
  url: string;
  token: string | undefined;
  dashboardUrl: string;
  dashboardTokenFile: string;
}

const where = { folder: packageRoot, stack: demoStack };

/**
 * Deploys a service, rolls out a good version and then one that cannot start, under load from outside, and measures
 * what users would have noticed.
 */
export async function runDemo(options: DemoOptions): Promise<Summary> {
  const story = new Story(options);
  await story.prepare();
  try {
    await story.start();
    await story.rollOut();
    await story.tryBroken();
    return await story.end();
  } finally {
    await story.close();
  }
}

/** Where the service of the demo is. */
export async function addressOfService(signal: AbortSignal): Promise<Address> {
  const session = await openSession({ ...where, signal });
  const { url, queryAuthToken: token, rollout, targets } = await deployedOutputs(session);
  const cluster = targets.clusters[rollout.primary.cluster];
  const { dashboardUrl, dashboardTokenFile } = cluster ?? {};
  if (url === undefined || dashboardUrl === undefined || dashboardTokenFile === undefined) {
    throw new UpdateFailed("the stack has no address of its service");
  }
  return { url, token, dashboardUrl, dashboardTokenFile };
}

class Story {
  private readonly began = Date.now();
  private readonly waypoints: ReachedWaypoint[] = [];
  private readonly byHeader: Record<string, string | undefined> = {};
  private readonly pending: Promise<void>[] = [];
  private deploying = versions.first;
  private rolledBack: string | undefined;
  private sampler: Sampler | undefined;
  private load: Load | undefined;
  private endpoint: Endpoint | undefined;

  constructor(private readonly options: DemoOptions) {}

  /** Ends the service of an earlier demo, so that this one shows all steps from the first. */
  async prepare(): Promise<void> {
    const { signal } = this.options;
    const { service } = await status({ ...where, signal });
    if (service !== undefined && service !== serviceName) {
      throw new Refused(
        `the stack ${demoStack} runs the service ${service}, which is not the demo's. ` +
          `End it with \`npm run rayshift -- terminate -s ${demoStack}\`, or deploy it to another stack. Nothing was changed.`,
      );
    }
    if (service !== undefined) {
      this.say("the service of an earlier demo still runs: it is ended first, then everything starts anew");
      await terminate({ ...where, signal, onEvent: this.options.onEvent });
    }
    new ConfigFile(openProject(where)).edit({ target: "local", idleTimeoutSeconds });
  }

  async start(): Promise<void> {
    this.sampler = new Sampler(openProject(where), Object.values(versions));
    await this.deploy(versions.first);
    this.endpoint = await addressOfService(this.options.signal);
    this.load = new Load(this.endpoint, this.options.rps);
    this.say(`${this.options.rps} requests a second go to ${this.endpoint.url} from now on`);
  }

  async rollOut(): Promise<void> {
    await this.deploy(versions.good, surge);
  }

  async tryBroken(): Promise<void> {
    try {
      await this.deploy(versions.broken, surge);
    } catch (error) {
      if (!(error instanceof RolledBack)) throw error;
      this.rolledBack = error.reason;
      this.say(`${versions.broken} was rolled back, as it should be: ${error.reason}`);
    }
  }

  async end(): Promise<Summary> {
    await Promise.all(this.pending);
    const { load, sampler } = this;
    if (load === undefined || sampler === undefined) throw new Error("the demo was not started");
    const [counts, peaks] = await Promise.all([load.stop(), sampler.stop()]);
    const { primary } = await status({ ...where, signal: this.options.signal });
    return {
      waypoints: this.waypoints,
      ...measured(counts, peaks, limitsUnder(surge, fullReplicas)),
      byHeader: this.byHeader,
      ...(this.rolledBack === undefined ? {} : { rolledBack: this.rolledBack }),
      versionAtEnd: primary?.version,
      seconds: this.seconds(),
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.load?.stop(), this.sampler?.stop()]);
  }

  private async deploy(version: string, maxSurgePercent?: number): Promise<void> {
    this.deploying = version;
    const { signal } = this.options;
    const file = join(packageRoot, "examples", "language-id", `service-${version}.yaml`);
    await deploy({ ...where, file, maxSurgePercent, signal, onEvent: (event) => this.follow(event) });
  }

  private follow(event: RolloutEvent): void {
    this.options.onEvent(event);
    if (event.event !== "reached") return;
    const { primary, canary } = event;
    this.waypoints.push({ seconds: this.seconds(), deploying: this.deploying, primary, ...(canary ? { canary } : {}) });
    const split = (canary?.traffic ?? 0) > 0 && (primary.traffic ?? 0) > 0;
    if (split && Object.keys(this.byHeader).length === 0) this.pending.push(this.askBoth());
  }

  /** While both versions have traffic a header picks the one that answers. */
  private async askBoth(): Promise<void> {
    const { endpoint } = this;
    if (endpoint === undefined) return;
    for (const role of ["primary", "canary"]) {
      const ending = await ask(endpoint, "Which version are you?", { "X-ANYSCALE-VERSION": role });
      this.byHeader[role] = versionIn(ending);
      const answer = "error" in ending ? ending.error : `status ${ending.status}, ${ending.body.trim()}`;
      this.say(`a request with the header "X-ANYSCALE-VERSION: ${role}": ${answer}`);
    }
  }

  private say(message: string): void {
    this.options.onEvent({ event: "notice", message });
  }

  private seconds(): number {
    return (Date.now() - this.began) / 1000;
  }
}
