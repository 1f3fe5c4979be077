import type { PlacedVersion } from "../components/record";
import type { ClusterAddress } from "../components/target";
import { EngineEnded, StackLocked, UpdateFailed } from "./errors";
import type { RolloutEvent } from "./events";
import { type Inspection, inspect } from "./inspect";
import type { Waypoint } from "./plan";
import type { EngineEvent } from "./pulumi";
import { type Deployed, isDeployed, type Session } from "./session";
import { type Interruption, watch } from "./watch";
import { mayWithdraw, type Withdrawal, withdrawTraffic } from "./withdraw";

export interface WatchedUpdate {
  message: string;
  /** Where the service stands when the update is done. */
  waypoint?: Waypoint | undefined;
  /** Version whose failure to start is its own and not the update's. */
  canary?: string | undefined;
  deadline?: string | undefined;
  endWhenUnhealthy: boolean;
  /** Whether an unhealthy canary loses its traffic before the update has ended; never when absent. */
  withdrawal?: Withdrawal;
  refresh?: boolean;
  /** Told of every look at the service while the update runs. */
  onLook?: (seen: Inspection) => void;
}

/**
 * One update, given up when the canary becomes unhealthy or the deadline passes. Resolves with that reason, or with
 * undefined when the update is done; throws when it failed for another reason.
 */
export async function watchedUpdate(
  session: Session,
  before: Deployed | undefined,
  update: WatchedUpdate,
): Promise<Interruption | undefined> {
  const { emit, stack, signal } = session;
  session.assertDriving();
  emit({ event: "update", message: update.message, ...(update.waypoint ? { waypoint: update.waypoint } : {}) });
  // A canary that this update makes is in no record yet; it is watched from the moment its cluster runs.
  let visible = before;
  const { withdrawal = "never" } = update;
  let last: Inspection | undefined;
  const given = new AbortController();
  const over = new AbortController();
  const report = statusReporter(emit);
  const watching =
    before === undefined
      ? Promise.resolve(undefined)
      : watch(
          {
            look: (looking) => {
              const { rollout, targets } = visible ?? before;
              return inspect(rollout, targets, looking);
            },
            onLook: (seen) => {
              last = seen;
              report(seen);
              update.onLook?.(seen);
              session.assertDriving();
            },
            deadline: update.deadline,
            endWhenUnhealthy: update.endWhenUnhealthy,
          },
          AbortSignal.any([over.signal, signal]),
        ).then(async (reason) => {
          // Not where the update itself is about to take from the primary what this needs.
          const whole = withdrawal === "always" || update.waypoint?.primaryCapacity === 100;
          if (reason?.kind === "unhealthy" && last !== undefined && whole && mayWithdraw(withdrawal, last))
            await withdrawTraffic(visible ?? before);
          if (reason !== undefined) given.abort(new Error(reason.reason));
          return reason;
        });
  // A lock that was taken away ends the update as well; the reason is thrown when that has ended.
  watching.catch((error: unknown) => given.abort(error));

  const failed = new Set<string>();
  const follow = followEngine(emit, failed);
  try {
    await stack.update({
      message: update.message,
      refresh: update.refresh ?? false,
      onEvent: (event) => {
        follow(event);
        const made = visible && newCluster(visible, update, event);
        if (made === undefined) return;
        const show = (address: Partial<ClusterAddress> | undefined) => {
          if (visible !== undefined && address !== undefined)
            visible = withNewCanary(visible, update, made.name, address);
        };
        // Events do not have secrets.
        if (made.address.dashboardToken === undefined) show(made.address);
        else stack.outputsOf(made.urn, over.signal).then(show, () => undefined);
      },
      signal: AbortSignal.any([given.signal, signal]),
    });
    session.changed = true;
  } catch (error) {
    session.changed ||= !(error instanceof StackLocked);
    over.abort();
    const interruption = await watching;
    signal.throwIfAborted();
    if (interruption !== undefined) return interruption;
    const ownFault = error instanceof StackLocked || error instanceof EngineEnded;
    if (update.endWhenUnhealthy && !ownFault && visible !== undefined) {
      const canaryFailed = update.canary !== undefined && [...failed].some((name) => isPartOf(name, update.canary!));
      // It may have failed faster than the watch looks, at what the load balancer asks of a version.
      const seen = await inspect(visible.rollout, visible.targets, signal);
      const reason = canaryFailed ? (error as Error).message : seen.unhealthy.canary;
      if (reason !== undefined && mayWithdraw(withdrawal, seen)) await withdrawTraffic(visible);
      if (reason !== undefined) return { kind: "unhealthy", reason };
    }
    throw error;
  }
  over.abort();
  return watching;
}

/** The outputs of a stack that has a service. */
export async function deployedOutputs({ stack, signal }: Session): Promise<Deployed> {
  const outputs = await stack.outputs(signal);
  if (!isDeployed(outputs)) throw new UpdateFailed("the update is done but the stack has no record of the service");
  return outputs;
}

export function reportReached({ emit }: Session, waypoint: Waypoint, seen: Inspection, began: number): void {
  const { primary, canary } = seen;
  emit({ event: "reached", waypoint, seconds: (Date.now() - began) / 1000, primary, ...(canary ? { canary } : {}) });
}

/** A cluster of the wanted version that has just come to run, and is in no record yet. */
function newCluster(
  known: Deployed,
  { canary: version }: WatchedUpdate,
  { resOutputsEvent }: EngineEvent,
): { urn: string; name: string; address: Partial<ClusterAddress> } | undefined {
  const { urn = "", type = "", new: made } = resOutputsEvent?.metadata ?? {};
  const address = made?.outputs as Partial<ClusterAddress> | undefined;
  if (version === undefined || known.rollout.canary !== undefined || !type.endsWith(":Cluster")) return undefined;
  if (address?.dashboardUrl === undefined && address?.kubernetes === undefined) return undefined;
  return isPartOf(nameOf(urn), version) ? { urn, name: nameOf(urn), address } : undefined;
}

/** What is known of the service, with the canary whose cluster has just come to run. */
function withNewCanary(
  known: Deployed,
  { canary: version = "", waypoint }: WatchedUpdate,
  name: string,
  address: Partial<ClusterAddress>,
): Deployed {
  const cluster = name.replace(/^cluster-/, "");
  const canary: PlacedVersion = {
    ...known.rollout.primary,
    name: version,
    cluster,
    capacity: waypoint?.canaryCapacity ?? null,
    traffic: 0,
  };
  const clusters = { ...known.targets.clusters, [cluster]: address as ClusterAddress };
  return { ...known, rollout: { ...known.rollout, canary }, targets: { ...known.targets, clusters } };
}

/** Whether a resource is of the version's cluster, which has a number after its name when the name was taken. */
function isPartOf(resource: string, version: string): boolean {
  return [`-${version}`, `-${version}-2`].some((ending) => resource.endsWith(ending));
}

/** Reports a status when it differs from the last one. */
function statusReporter(emit: Session["emit"]): (seen: Inspection) => void {
  let last = "";
  return ({ primary, canary }) => {
    const event: RolloutEvent = { event: "status", primary, ...(canary ? { canary } : {}) };
    const text = JSON.stringify(event);
    if (text !== last) emit(event);
    last = text;
  };
}

/** Passes on what resources report while they wait, and notes the resources that failed. */
function followEngine(emit: Session["emit"], failed: Set<string>): (event: EngineEvent) => void {
  let last = "";
  return ({ diagnosticEvent: said, resOpFailedEvent: failure }) => {
    if (failure !== undefined) failed.add(nameOf(failure.metadata.urn));
    if (said?.urn === undefined || said.urn === "" || !["info", "info#err", "warning"].includes(said.severity)) return;
    const message = said.message.trim();
    if (message !== "" && message !== last) emit({ event: "progress", resource: nameOf(said.urn), message });
    last = message;
  };
}

const nameOf = (urn: string) => urn.split("::").at(-1) ?? urn;
