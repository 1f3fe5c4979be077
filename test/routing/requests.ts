/**
 * Requests to a service, and which version gets them. The same table holds for every target; where one differs, the row
 * says so, and the target's docs say why.
 */

export type TargetName = "local" | "kubernetes" | "aws" | "gcp";

/** What a load balancer was told: weights in percent. v1 is the primary, v2 the canary where there is one. */
export interface RoutingState {
  primary: number;
  canary?: number;
}

export interface RoutedRequest {
  path: string;
  headers: Record<string, string>;
}

/** Percent of such requests by version, without those that get none; or the status of an answer without any version. */
export type Outcome = Record<string, number> | number;

export interface Row {
  title: string;
  state: RoutingState;
  /** Whether the service asks for its token. */
  guarded: boolean;
  request: RoutedRequest;
  outcome: Outcome;
  /** Where the rules of a target alone say something else. */
  except?: Partial<Record<TargetName, Outcome>>;
}

export const token = "AbCdEf-0123456789_abcdefghijklmnopqrstuvwxy";

const bearer = { Authorization: `Bearer ${token}` };
const asking = (version: string) => ({ "X-ANYSCALE-VERSION": version });
const alone: RoutingState = { primary: 100 };
const split: RoutingState = { primary: 75, canary: 25 };
const waiting: RoutingState = { primary: 100, canary: 0 };
const moved: RoutingState = { primary: 0, canary: 100 };

type Given = Partial<RoutedRequest> & { open?: boolean; except?: Row["except"] };

function row(
  title: string,
  state: RoutingState,
  outcome: Outcome,
  { path = "/", headers = {}, open, except }: Given,
): Row {
  return {
    title,
    state,
    guarded: open !== true,
    request: { path, headers },
    outcome,
    ...(except === undefined ? {} : { except }),
  };
}

export const table: Row[] = [
  row("a request with the token, one version", alone, { v1: 100 }, { headers: bearer }),
  row("a request with the token, two versions", split, { v1: 75, v2: 25 }, { headers: bearer }),
  row("a request with the token, a canary without traffic", waiting, { v1: 100 }, { headers: bearer }),
  row("a request with the token, a canary with all traffic", moved, { v2: 100 }, { headers: bearer }),
  row("any path and query", split, { v1: 75, v2: 25 }, { headers: bearer, path: "/v1/models?limit=2" }),
  row("no token", split, 401, {}),
  row("another token", split, 401, { headers: { Authorization: `Bearer ${token.replace("0", "1")}` } }),
  row("a part of the token", split, 401, { headers: { Authorization: `Bearer ${token.slice(0, -1)}` } }),
  row("the token in another case", split, 401, {
    headers: { Authorization: `Bearer ${token.toLowerCase()}` },
    // An ALB compares without regard to case; the gate in Serve's proxy refuses it.
    except: { aws: { v1: 75, v2: 25 } },
  }),
  row("the token without its scheme", split, 401, {
    headers: { Authorization: token },
    // The gateway's keys are both.
    except: { kubernetes: { v1: 75, v2: 25 } },
  }),
  row("the primary by its header", split, { v1: 100 }, { headers: { ...bearer, ...asking("primary") } }),
  row("the canary by its header", split, { v2: 100 }, { headers: { ...bearer, ...asking("canary") } }),
  row(
    "the canary by its header, without traffic",
    waiting,
    { v2: 100 },
    { headers: { ...bearer, ...asking("canary") } },
  ),
  row(
    "the primary by its header, without traffic",
    moved,
    { v1: 100 },
    { headers: { ...bearer, ...asking("primary") } },
  ),
  row("the primary by its header, alone", alone, { v1: 100 }, { headers: { ...bearer, ...asking("primary") } }),
  row("the canary by its header where there is none", alone, 404, { headers: { ...bearer, ...asking("canary") } }),
  row(
    "the header's name in another case",
    split,
    { v2: 100 },
    { headers: { ...bearer, "x-anyscale-version": "canary" } },
  ),
  row(
    "the header's value in another case",
    split,
    { v1: 75, v2: 25 },
    {
      headers: { ...bearer, ...asking("Canary") },
      // As with the token: the gate answers 400.
      except: { aws: { v2: 100 } },
    },
  ),
  row("a version that is no role", split, { v1: 75, v2: 25 }, { headers: { ...bearer, ...asking("v2") } }),
  row("the canary by its header without a token", split, 401, { headers: asking("canary") }),
  row("no token where none is asked for", split, { v1: 75, v2: 25 }, { open: true }),
  row("a token where none is asked for", split, { v1: 75, v2: 25 }, { headers: bearer, open: true }),
  row(
    "the canary by its header where no token is asked for",
    split,
    { v2: 100 },
    { headers: asking("canary"), open: true },
  ),
  row("the canary by its header where there is none, no token asked for", alone, 404, {
    headers: asking("canary"),
    open: true,
  }),
];

/** What a target's own rules make of a row. */
export function expected({ outcome, except }: Row, target: TargetName): Outcome {
  return except?.[target] ?? outcome;
}
