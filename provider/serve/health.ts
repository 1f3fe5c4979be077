import type { ApplicationObservation, DeploymentObservation, Observation } from "./observation";
import { deploymentsOf } from "./observation";
import { type ExpectedReplicas, type ReplicaBounds, replicasRayRuns } from "./scaling";

/** What a cluster is to look like after a PUT. */
export interface Expectation {
  /** As sent, in percent; null when none was. */
  capacity: number | null;
  /** Names of all applications. */
  applications: string[];
  /** Absent while the counts are still to be learned: then Ray's own word counts, and every application has to be built. */
  replicas?: ExpectedReplicas;
  /** Where a cluster that is unhealthy was lowered: the surplus has to be gone, and the rest is as it was. */
  surplusOnly?: boolean;
}

/** What an observation says of an expectation. Reasons are for people: Ray's own message, cut to what helps. */
export type Verdict =
  | { state: "healthy" }
  | { state: "waiting"; reason: string }
  | { state: "unhealthy"; reason: string };

/** As often as Ray lets one replica fail to start before it calls a deployment unhealthy. */
const START_FAILURES = 3;

/**
 * Whether the cluster is as expected. Right after a PUT Ray shows the application as DEPLOYING and its deployments as
 * they were, so nothing is concluded from deployments of an application that is DEPLOYING.
 */
export function verdict(observation: Observation, expectation: Expectation): Verdict {
  const { capacity } = expectation;
  if (observation.targetCapacity !== capacity) {
    return waiting(`target_capacity reads back ${observation.targetCapacity}, ${capacity} was sent`);
  }
  if (capacity === 0 && expectation.replicas !== undefined) return nothingRuns(observation);
  if (expectation.surplusOnly === true) return worst(surplusOf(observation, expectation.replicas ?? {}));
  const verdicts = expectation.applications.map((name) => ofApplication(name, observation, expectation));
  const leftOver = Object.entries(observation.applications).filter(
    ([name]) => !expectation.applications.includes(name),
  );
  return worst([...verdicts, ...leftOver.map(([name]) => waiting(`application ${name} is being deleted`))]);
}

function surplusOf(observation: Observation, expected: ExpectedReplicas): Verdict[] {
  return deploymentsOf(observation).map(({ application, deployment, observed }) => {
    const { atMost } = expected[application]?.[deployment] ?? { atMost: 0 };
    const label = labelOf(application, deployment, observation);
    if (observed.targetReplicas > atMost)
      return waiting(`Ray still wants ${observed.targetReplicas} replicas of ${label}`);
    const surplus = observed.replicaIds.length - atMost;
    return surplus > 0 ? waiting(`${surplus} surplus replicas of ${label} still to end`) : { state: "healthy" };
  });
}

/** Why the cluster is unhealthy in Ray's words, when Ray calls an application failed or unhealthy. */
export function unhealthyReason(observation: Observation): string | undefined {
  const troubled = Object.entries(observation.applications).filter(([, application]) => isTroubled(application));
  if (troubled.length === 0) return undefined;
  return troubled.map(([name, application]) => troubleOf(name, application, observation)).join("\n");
}

/** The deployments that Ray calls failed or unhealthy, by application, whatever it says of the application. */
export function troubledDeployments(observation: Observation): Record<string, string[]> {
  const troubled = deploymentsOf(observation).filter(({ observed }) => isTroubled(observed));
  const names: Record<string, string[]> = {};
  for (const { application, deployment } of troubled) names[application] = [...(names[application] ?? []), deployment];
  return names;
}

/**
 * Counts replicas that failed to start beside others that run, from one observation to the next. Ray calls a deployment
 * unhealthy only when none of its replicas runs; where one does, it tries for ever to start the others.
 */
export class StartFailures {
  private readonly alive = new Map<string, string[]>();
  private readonly ran = new Set<string>();
  private readonly failures = new Map<string, number>();
  /** Ray's last message of a failure: it soon shows other messages over it. */
  private readonly messages = new Map<string, string>();

  /** Takes an observation in; gives the verdict when a deployment's replicas fail again and again. */
  observe(observation: Observation): Verdict | undefined {
    for (const { application, deployment, observed } of deploymentsOf(observation)) {
      const key = `${application}/${deployment}`;
      for (const id of observed.runningIds) this.ran.add(id);
      const gone = (this.alive.get(key) ?? []).filter((id) => !observed.replicaIds.includes(id) && !this.ran.has(id));
      const failures = (this.failures.get(key) ?? 0) + gone.length;
      this.alive.set(key, observed.replicaIds);
      this.failures.set(key, failures);
      if (/failed to start/.test(observed.message)) this.messages.set(key, observed.message);
      const message = this.messages.get(key);
      if (message !== undefined && failures >= START_FAILURES && observed.running > 0) {
        const label = labelOf(application, deployment, observation);
        return unhealthy(`${failures} replicas of ${label} failed to start: ${helpful(message)}`);
      }
    }
    return undefined;
  }
}

/** Ray's message cut to what helps: the exception instead of its traceback, the resources instead of advice. */
export function helpful(message: string): string {
  const text = message.trim();
  const resources = /Resources required.*?(?=\s*Use `ray status`|$)/s.exec(text);
  if (resources !== null) return resources[0].trim().slice(0, 500);
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const raised = lines.findLastIndex((line) =>
    /^[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)?(:|$)/.test(line),
  );
  const shown = text.includes("Traceback") && raised > 0 ? lines.slice(raised) : lines;
  return shown.slice(0, 6).join("\n").slice(0, 600);
}

function nothingRuns(observation: Observation): Verdict {
  for (const { application, deployment, observed } of deploymentsOf(observation)) {
    const label = labelOf(application, deployment, observation);
    const { status, message } = observation.applications[application] as ApplicationObservation;
    const alive = observed.replicaIds.length;
    if (status === "DEPLOY_FAILED" && alive > 0) {
      return unhealthy(
        `${alive} replicas of ${label} still run, and Ray cannot take the config over: ${helpful(message)}`,
      );
    }
    if (alive > 0) return waiting(`${alive} replicas of ${label} still to end`);
    if (observed.targetReplicas > 0) return waiting(`Ray still wants ${observed.targetReplicas} replicas of ${label}`);
  }
  return { state: "healthy" };
}

function ofApplication(name: string, observation: Observation, expectation: Expectation): Verdict {
  const application = observation.applications[name];
  if (application === undefined) return waiting(`application ${name} is not there yet`);
  if (isTroubled(application)) return unhealthy(troubleOf(name, application, observation));
  const expected = expectation.replicas?.[name];
  const names = [...new Set([...Object.keys(expected ?? {}), ...Object.keys(application.deployments)])].sort();
  const verdicts = names.map((deployment) => {
    const observed = application.deployments[deployment];
    const label = labelOf(name, deployment, observation);
    if (observed === undefined) return waiting(`deployment ${label} is not there yet`);
    const bounds = expected === undefined ? replicasRayRuns(observed, expectation.capacity) : expected[deployment];
    return ofDeployment(label, observed, bounds ?? { atLeast: 0, atMost: 0 });
  });
  const counts = worst(verdicts);
  if (application.status === "RUNNING") return counts;
  return counts.state === "waiting" ? counts : waiting(`application ${name} is ${application.status}`);
}

function ofDeployment(label: string, observed: DeploymentObservation, { atLeast, atMost }: ReplicaBounds): Verdict {
  const { byState, running, targetReplicas: target } = observed;
  const total = observed.replicaIds.length;
  if (target >= atLeast && target <= atMost && running < Math.max(atLeast, observed.autoscaling ? 0 : target)) {
    return waiting(`${running} of ${atLeast} replicas of ${label} run${others(byState)}${because(observed)}`);
  }
  if (target < atLeast || target > atMost) {
    return waiting(`Ray wants ${target} replicas of ${label}, ${rangeOf(atLeast, atMost)} are expected`);
  }
  if (total > atMost) return waiting(`${total - atMost} surplus replicas of ${label} still to end`);
  // Where a deployment scales by itself, replicas may come and go within its bounds at any time.
  const scaling = observed.autoscaling !== undefined && observed.trigger === "AUTOSCALING";
  if (observed.status === "HEALTHY" || scaling) return { state: "healthy" };
  return waiting(`deployment ${label} is ${observed.status}${because(observed)}`);
}

function troubleOf(name: string, application: ApplicationObservation, observation: Observation): string {
  const troubled = Object.entries(application.deployments).filter(([, deployment]) => isTroubled(deployment));
  if (troubled.length === 0) return `application ${name} is ${application.status}: ${helpful(application.message)}`;
  return troubled
    .map(([deployment, { status, trigger, message }]) => {
      const label = labelOf(name, deployment, observation);
      return `deployment ${label} is ${status} (${trigger}): ${helpful(message)}`;
    })
    .join("\n");
}

function isTroubled({ status }: { status: string }): boolean {
  return status === "DEPLOY_FAILED" || status === "UNHEALTHY";
}

function worst(verdicts: Verdict[]): Verdict {
  const find = (state: Verdict["state"]) => verdicts.find((each) => each.state === state);
  return find("unhealthy") ?? find("waiting") ?? { state: "healthy" };
}

function others(byState: Record<string, number>): string {
  const states = Object.entries(byState).filter(([state]) => state !== "RUNNING" && state !== "PENDING_MIGRATION");
  return states.map(([state, count]) => `; ${count} ${state.toLowerCase()}`).join("");
}

/** Ray's message, where it tells of trouble and not only of the scaling that is under way. */
function because({ message }: DeploymentObservation): string {
  return /failed|Resources required|Error/.test(message) ? ` (${helpful(message)})` : "";
}

/** The deployment's name, with its application's where there is more than one. */
function labelOf(application: string, deployment: string, observation: Observation): string {
  return Object.keys(observation.applications).length > 1 ? `${application}/${deployment}` : deployment;
}

const rangeOf = (atLeast: number, atMost: number) => (atLeast === atMost ? `${atLeast}` : `${atLeast} to ${atMost}`);
const waiting = (reason: string): Verdict => ({ state: "waiting", reason });
const unhealthy = (reason: string): Verdict => ({ state: "unhealthy", reason });
