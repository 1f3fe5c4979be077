import { markerPath, markerText, versionHeader } from "../../provider/cloud/marker";

/** A version behind the load balancer. */
export interface Weighted {
  /** Of the version's cluster. */
  version: string;
  /** Percent. */
  weight: number;
  targetGroupArn: string;
}

export interface RuleInputs {
  primary: Weighted;
  canary?: Weighted | undefined;
  /** Absent: requests need no token. */
  queryAuthToken?: string | undefined;
}

export interface Condition {
  httpHeader?: { httpHeaderName: string; values: string[] };
  pathPattern?: { values: string[] };
}

export interface Action {
  type: string;
  fixedResponse?: { statusCode: string; contentType: string; messageBody: string };
  forward?: {
    targetGroups: Array<{ arn: string; weight: number }>;
    stickiness: { enabled: boolean; duration: number };
  };
}

/** One rule of a listener, as the provider takes it. */
export interface Rule {
  priority: number;
  conditions: Condition[];
  actions: Action[];
}

export type RuleName = "marker" | "primary" | "canary" | "traffic";

/** In the order in which they are looked at. */
const priorities = { marker: 5, primary: 10, canary: 11, traffic: 20 };

/**
 * The listener's rules for one placement: the marker, each role by the version header, and the versions by their weights.
 * Every one asks for the token; what none takes gets {@link strangerAnswer}.
 */
export function listenerRules({ primary, canary, queryAuthToken }: RuleInputs): Record<RuleName, Rule> {
  const withToken = queryAuthToken === undefined ? [] : [header("Authorization", `Bearer ${queryAuthToken}`)];
  const weighted = [primary, ...(canary === undefined ? [] : [canary])];
  const anyPath = queryAuthToken === undefined ? [path("/*")] : withToken;
  return {
    marker: {
      priority: priorities.marker,
      conditions: [path(markerPath), ...withToken],
      actions: [answer("200", markerText(weighted))],
    },
    primary: {
      priority: priorities.primary,
      conditions: [header(versionHeader, "primary"), ...withToken],
      actions: [forward([{ ...primary, weight: 1 }])],
    },
    canary: {
      priority: priorities.canary,
      conditions: [header(versionHeader, "canary"), ...withToken],
      actions: [
        canary === undefined
          ? answer("404", "This service has no canary version now.\n")
          : forward([{ ...canary, weight: 1 }]),
      ],
    },
    traffic: { priority: priorities.traffic, conditions: anyPath, actions: [forward(weighted)] },
  };
}

/** What a request without the token gets. */
export const strangerAnswer = answer("401", "Unauthorized: a valid token is missing.\n");

const header = (httpHeaderName: string, value: string): Condition => ({
  httpHeader: { httpHeaderName, values: [value] },
});
const path = (value: string): Condition => ({ pathPattern: { values: [value] } });

function answer(statusCode: string, messageBody: string): Action {
  return { type: "fixed-response", fixedResponse: { statusCode, contentType: "text/plain", messageBody } };
}

/** Without stickiness, or a client that once came to a version would stay with it whatever the weights are. */
function forward(groups: ReadonlyArray<Pick<Weighted, "targetGroupArn" | "weight">>): Action {
  return {
    type: "forward",
    forward: {
      targetGroups: groups.map(({ targetGroupArn, weight }) => ({ arn: targetGroupArn, weight })),
      stickiness: { enabled: false, duration: 1 },
    },
  };
}
