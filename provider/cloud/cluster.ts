import { isDeepStrictEqual } from "node:util";
import type { OperationContext, ResourceType } from "../resource";
import { type CloudDashboard, DashboardUnreachable, runsAnything } from "../serve/dashboard";
import { type MarkerAddress, untilDrained } from "../serve/guards";
import { clusterNodes } from "../serve/nodes";
import { untilRight } from "../serve/untilRight";
import { checkSeconds } from "../serve/weights";
import { NoMarker, readMarkerWeights } from "./marker";

export interface ClusterInputs extends CloudDashboard {
  /** Of what makes the head: another one is another cluster. */
  headId: string;
  /** Where requests come from, so that they can end before the cluster does. */
  marker: MarkerAddress;
  /** The version's name among the load balancer's backends. */
  version: string;
  /** Longest wait for the head, seconds. */
  timeoutSeconds: number;
  drainTimeoutSeconds: number;
  /** A command that shows what the head says while it starts. */
  seeHead: string;
}

const POLL_MS = 1000;

/**
 * `rayserve:cloud:Cluster`: the cluster that a head in a cloud makes. Its creation ends when Ray answers on the head; its
 * deletion, which comes before the head's, when the requests have had their time.
 */
export const cloudCluster: ResourceType<ClusterInputs, ClusterInputs> = {
  secrets: ["dashboardToken"],
  check({ dashboardUrl, timeoutSeconds, drainTimeoutSeconds }) {
    const invalid = dashboardUrl !== undefined && !URL.canParse(dashboardUrl);
    return [
      ...(invalid
        ? [{ property: "dashboardUrl", reason: `a URL such as http://10.0.0.1:8265, got ${dashboardUrl}` }]
        : []),
      ...checkSeconds({ timeoutSeconds, drainTimeoutSeconds }),
    ];
  },
  diff(state, inputs) {
    const replaced = state.headId !== inputs.headId;
    return {
      changes: replaced || !isDeepStrictEqual(comparable(state), comparable(inputs)),
      replaces: replaced ? ["headId"] : [],
    };
  },
  async create(inputs, context) {
    await headAnswers(inputs, context);
    return { id: context.name, state: inputs };
  },
  read: async (_id, state) => state,
  update: async (_id, _state, inputs) => inputs,
  delete: (_id, state, context) => requestsEnd(state, context),
};

const comparable = ({ timeoutSeconds: _, ...rest }: ClusterInputs): object => JSON.parse(JSON.stringify(rest));

async function headAnswers(inputs: ClusterInputs, context: OperationContext): Promise<void> {
  const { timeoutSeconds, seeHead } = inputs;
  await untilRight(
    { timeoutSeconds, pollMs: POLL_MS },
    context,
    async () => {
      try {
        await clusterNodes(inputs, context.signal);
        return undefined;
      } catch (error) {
        if (!(error instanceof DashboardUnreachable)) throw error;
        return error.message;
      }
    },
    (problem) =>
      `${context.name}: its head does not answer within ${timeoutSeconds} s: ${problem}. Does this machine reach ` +
      `the head's network? What the head says: ${seeHead}`,
  );
}

/** A cluster that still gets requests is not ended; one that got some lately gives them time. */
async function requestsEnd(state: ClusterInputs, context: OperationContext): Promise<void> {
  const { version, marker, drainTimeoutSeconds } = state;
  if (!(await runsAnything(state, context.signal))) return;
  const weights = await readMarkerWeights(marker, context.signal).catch((error: unknown) => {
    if (error instanceof NoMarker) return undefined;
    throw new Error(`${context.name} was not ended, since it may still get requests: ${(error as Error).message}`);
  });
  // A load balancer without weights sends nobody anything.
  if (weights === undefined) return;
  const { weight = 0, since = Date.now() } = weights[version] ?? {};
  if (weight > 0) {
    throw new Error(
      `${context.name}: the load balancer still sends it ${weight}% of the traffic, so the cluster was not ended. ` +
        "`rayshift deploy` or `rayshift rollback` shift the traffic first.",
    );
  }
  await untilDrained({ version, drainTimeoutSeconds }, since, context);
}
