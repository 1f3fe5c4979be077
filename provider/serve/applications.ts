import { isDeepStrictEqual } from "node:util";
import { type OperationContext, PartialFailure, type ResourceType } from "../resource";
import { anotherAttempt } from "./anotherAttempt";
import { checkApplications } from "./applicationsCheck";
import { applicationName, type ServeConfig, type ServeDeployment } from "./config";
import { converge, type Wait } from "./converge";
import {
  type DashboardAddress,
  DashboardUnreachable,
  deleteApplications,
  getApplications,
  HeadMissing,
  placeOf,
  putApplications,
} from "./dashboard";
import {
  type CountWorkers,
  checkSurge,
  checkTraffic,
  type ReadWeights,
  type SurgeGuard,
  type TrafficGuard,
} from "./guards";
import { unhealthyReason } from "./health";
import { capacityInUse, isEmpty, type Observation } from "./observation";
import {
  carriedOver,
  configToLearnFrom,
  configToSend,
  type DeclaredCounts,
  declaredCounts,
  expectedReplicas,
  type InitialReplicas,
  isLearned,
} from "./scaling";

export type ApplicationsInputs = DashboardAddress & {
  config: ServeConfig;
  /** Percent, 0..100. Absent: null is sent, which is 100 % without bounds. */
  capacity?: number;
  /** On a canary initial_replicas is a floor. */
  canary: boolean;
  /** Longest wait without convergence. */
  timeoutSeconds: number;
  /** How long a replica that ends may go on with its requests, for deployments that do not say it; absent: Ray's default. */
  drainTimeoutSeconds?: number;
  /** Checked before capacity is raised; not state. */
  surge?: SurgeGuard;
  /** Checked before capacity is lowered; not state. */
  traffic?: TrafficGuard;
};

export type ApplicationsState = ApplicationsInputs & {
  /** Counts at 100 % as code and config declare them: Ray reads back those that were sent. */
  declared: DeclaredCounts;
  /** Replicas that were running at least when the operation ended, by "application/deployment". */
  replicas: Record<string, number>;
  /** Applications that Ray had given up when it was asked last: it tries again only when it is sent something. */
  givenUp?: string[];
};

/** What the cluster runs as far as the stack knows. */
type Previous = Pick<ApplicationsState, "config" | "declared">;

/**
 * `rayserve:serve:Applications`: the Serve applications of one cluster at one capacity. An operation ends when the
 * replicas really run, or when surplus ones are gone. Whether nodes end after that is the cluster's business.
 */
export function applicationsType(
  readWeights: ReadWeights,
  countWorkers: CountWorkers,
): ResourceType<ApplicationsInputs, ApplicationsState> {
  const bringTo = async (
    inputs: ApplicationsInputs,
    id: string,
    previous: Previous | undefined,
    context: OperationContext,
  ) => {
    if (previous !== undefined && inputs.capacity === 0 && (await hasEnded(inputs, context.signal))) {
      return stateOf(inputs, previous.declared, "ignored");
    }
    const live = await beforeAnyChange(inputs, context);
    return apply(inputs, id, live, previous, context);
  };

  /** Everything that can refuse the operation, while nothing has changed yet. */
  const beforeAnyChange = async (inputs: ApplicationsInputs, context: OperationContext): Promise<Observation> => {
    try {
      const live = await getApplications(inputs, context.signal);
      const from = capacityInUse(live);
      const to = inputs.capacity ?? 100;
      if (to > from && inputs.surge !== undefined) await checkSurge(inputs.surge, to, countWorkers, context);
      if (to < from && inputs.traffic !== undefined) await checkTraffic(inputs.traffic, to, readWeights, context);
      return live;
    } catch (error) {
      throw new Error(await explain(error, inputs, context));
    }
  };

  return {
    check: checkApplications,
    diff(state, inputs) {
      const changes =
        !isDeepStrictEqual(plain(state.config), plain(inputs.config)) ||
        state.capacity !== inputs.capacity ||
        state.givenUp !== undefined ||
        !isDeepStrictEqual(addressOf(state), addressOf(inputs)) ||
        state.drainTimeoutSeconds !== inputs.drainTimeoutSeconds ||
        (state.canary !== inputs.canary && hasInitialReplicas(state.declared));
      return { changes };
    },
    async create(inputs, context) {
      return { id: context.name, state: await bringTo(inputs, context.name, undefined, context) };
    },
    async update(id, state, inputs, context) {
      return bringTo(inputs, id, state, context);
    },
    async read(_id, state, context) {
      try {
        return liveState(state, await getApplications(state, context.signal));
      } catch (error) {
        if (error instanceof HeadMissing || (error instanceof DashboardUnreachable && error.refused)) return undefined;
        throw error;
      }
    },
    async delete(_id, state, context) {
      try {
        // Asked first: a silent head would keep the end of its own cluster waiting for as long as Serve's may take.
        await getApplications(state, context.signal);
        await deleteApplications(state, context.signal);
      } catch (error) {
        if (!(error instanceof DashboardUnreachable)) throw error;
        if (!error.refused) context.warn(`${error.message}. Its applications end with the cluster.`);
      }
    },
  };
}

/** Sends the config and waits for it. Every failure after the first PUT leaves what was sent in the stack. */
async function apply(
  inputs: ApplicationsInputs,
  id: string,
  live: Observation,
  previous: Previous | undefined,
  context: OperationContext,
): Promise<ApplicationsState> {
  const { config, timeoutSeconds, drainTimeoutSeconds = 0 } = inputs;
  const fromNothing = capacityInUse(live) === 0;
  const isUnhealthy = unhealthyReason(live) !== undefined;
  const shrinks = previous !== undefined && capacityInUse(live) > (inputs.capacity ?? 100);
  const initial: InitialReplicas = inputs.canary ? "floor" : fromNothing ? "start" : "ignored";
  const capacity = inputs.capacity ?? null;
  const names = config.applications.map(applicationName);
  const wait: Wait = {
    timeoutSeconds: timeoutSeconds + (shrinks ? drainTimeoutSeconds : 0),
    signal: context.signal,
    progress: (message) => context.progress(message),
  };
  let declared = previous === undefined ? {} : carriedOver(previous.config, config, previous.declared);
  const toSend = (percent: number | null) => configToSend(config, percent, declared, initial, drainTimeoutSeconds);
  let sent: ServeDeployment | undefined;
  const put = async (deployment: ServeDeployment) => {
    await putApplications(inputs, deployment, context.signal);
    const first = sent === undefined;
    sent = deployment;
    if (!first || shrinks || deployment.target_capacity === 0) return;
    await anotherAttempt(inputs, deployment, live, context.signal);
  };
  try {
    // What is taken to zero is often broken, and nothing has to be known of it for that.
    const ending = capacity === 0 && previous !== undefined;
    if (!ending && !isLearned(config, declared)) {
      context.progress("Ray builds the applications");
      await put(fromNothing ? configToLearnFrom(config) : toSend(live.targetCapacity));
      const built = await converge(inputs, { capacity: sent?.target_capacity ?? null, applications: names }, wait);
      declared = declaredCounts(built, config, declared);
    }
    const deployment = toSend(capacity);
    if (!isDeepStrictEqual(plain(deployment), plain(sent))) await put(deployment);
    const replicas = expectedReplicas(declared, capacity, initial);
    await converge(inputs, { capacity, applications: names, replicas, surplusOnly: shrinks && isUnhealthy }, wait);
    return stateOf(inputs, declared, initial);
  } catch (error) {
    const message = await explain(error, inputs, context);
    if (sent === undefined) throw new Error(message);
    throw new PartialFailure(message, id, stateOf(withCapacity(inputs, sent.target_capacity), declared, initial));
  }
}

/** Whether nothing listens where the cluster was: a dead cluster runs nothing, which is all that capacity 0 asks for. */
async function hasEnded(address: DashboardAddress, signal: AbortSignal): Promise<boolean> {
  try {
    await getApplications(address, signal);
    return false;
  } catch (error) {
    return error instanceof DashboardUnreachable && error.refused;
  }
}

/** The error with the resource and, when the operation was cancelled, with that as its cause. */
async function explain(error: unknown, inputs: ApplicationsInputs, context: OperationContext): Promise<string> {
  const cause = context.signal.aborted ? context.signal.reason : error;
  const message = `${context.name} at ${placeOf(inputs)}: ${cause instanceof Error ? cause.message : String(cause)}`;
  if (inputs.kubernetes === undefined || context.signal.aborted) return message;
  // Ray knows that it waits for a node, and Kubernetes why there is none.
  const { whyNoPod } = await import("../kubernetes/pods.js");
  const why = await whyNoPod(inputs.kubernetes, context.signal).catch(() => undefined);
  return why === undefined ? message : `${message}. Kubernetes says: ${why}`;
}

function stateOf(inputs: ApplicationsInputs, declared: DeclaredCounts, initial: InitialReplicas): ApplicationsState {
  const expected = expectedReplicas(declared, inputs.capacity ?? null, initial);
  const replicas = Object.entries(expected).flatMap(([application, deployments]) =>
    Object.entries(deployments).map(([deployment, { atLeast }]) => [`${application}/${deployment}`, atLeast] as const),
  );
  return { ...inputs, declared, replicas: Object.fromEntries(replicas) };
}

/**
 * What the cluster really holds, so that a difference is repaired by an update: a capacity that somebody changed, an
 * application that somebody took away, one that failed. Without any application the resource is gone and is created anew.
 */
function liveState(state: ApplicationsState, live: Observation): ApplicationsState | undefined {
  if (isEmpty(live)) return undefined;
  const applications = state.config.applications.filter((each) => applicationName(each) in live.applications);
  const givenUp = Object.keys(live.applications).filter((name) => live.applications[name]?.status === "DEPLOY_FAILED");
  const { givenUp: _before, ...known } = withCapacity(state, live.targetCapacity);
  return { ...known, config: { ...state.config, applications }, ...(givenUp.length > 0 ? { givenUp } : {}) };
}

/** The same with the capacity that Ray was sent or reads back. */
function withCapacity<T extends ApplicationsInputs>(inputs: T, targetCapacity: number | null): T {
  const { capacity: _before, ...rest } = inputs;
  return { ...rest, ...(targetCapacity === null ? {} : { capacity: targetCapacity }) } as T;
}

/** Whether the canary's floor differs from the primary's. */
function hasInitialReplicas(declared: DeclaredCounts): boolean {
  return Object.values(declared).some((deployments) =>
    Object.values(deployments).some(
      (count) =>
        count === "unknown" ||
        ("autoscaling" in count && (count.autoscaling.initial_replicas ?? 0) > (count.autoscaling.min_replicas ?? 1)),
    ),
  );
}

const addressOf = ({ dashboardUrl, dashboardTokenFile, dashboardToken, kubernetes }: DashboardAddress) =>
  plain([dashboardUrl, dashboardTokenFile, dashboardToken, kubernetes]);

/** Without keys that have no value: the stack does not keep them. */
const plain = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
