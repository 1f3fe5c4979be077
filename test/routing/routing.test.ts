import assert from "node:assert/strict";
import { listenerRules, strangerAnswer } from "../../components/aws/rules";
import { urlMap } from "../../components/gcp/urlMap";
import { httpRoute, securityPolicy, tokenData } from "../../components/kubernetes/route";
import { settings } from "../components/kubernetes/settingsForTests";
import { albAction } from "../fake/cloud/alb";
import { urlMapAction } from "../fake/cloud/urlMap";
import { routeOutcome } from "./httpRoute";
import { expected, type Outcome, type RoutedRequest, type Row, type TargetName, table, token } from "./requests";

/** What the rules that a target's components make say of a row. */
type Evaluation = (row: Row) => Outcome;

const lowerCase = ({ headers }: RoutedRequest) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
const pathOf = ({ path }: RoutedRequest) => path.split("?")[0] ?? "/";

/** Percent by version from relative weights. */
function shares(weights: ReadonlyArray<readonly [version: string, weight: number]>): Outcome {
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  return Object.fromEntries(
    weights.map(([version, weight]) => [version, (100 * weight) / total]).filter(([, share]) => share !== 0),
  );
}

const kubernetes: Evaluation = ({ state, guarded, request }) => {
  const args = { service: "models", stack: "rayshift/dev", settings: settings() };
  const { manifest } = httpRoute(args, {
    primary: { version: "v1", weight: state.primary },
    canary: state.canary === undefined ? undefined : { version: "v2", weight: state.canary },
  });
  const keys = Object.values(tokenData(token)).map((encoded) => Buffer.from(encoded, "base64").toString());
  const objects = { route: manifest, keys, ...(guarded ? { policy: securityPolicy(args) } : {}) };
  const outcome = routeOutcome(objects, request);
  if (typeof outcome === "number") return outcome;
  return Object.fromEntries(
    Object.entries(outcome).map(([name, percent]) => [name.replace(/^models-|-serve-svc$/g, ""), percent]),
  );
};

const aws: Evaluation = ({ state, guarded, request }) => {
  const group = (version: string, weight: number) => ({ version, weight, targetGroupArn: version });
  const rules = listenerRules({
    primary: group("v1", state.primary),
    canary: state.canary === undefined ? undefined : group("v2", state.canary),
    queryAuthToken: guarded ? token : undefined,
  });
  const action = albAction(Object.values(rules), [strangerAnswer], {
    path: pathOf(request),
    headers: lowerCase(request),
  });
  if (action.fixedResponse !== undefined) return Number(action.fixedResponse.statusCode);
  return shares((action.forward?.targetGroups ?? []).map(({ arn, weight }) => [arn, weight]));
};

const gcp: Evaluation = ({ state, guarded, request }) => {
  const backend = (version: string, weight: number) => ({ version, weight, service: version });
  const map = urlMap({
    primary: backend("v1", state.primary),
    canary: state.canary === undefined ? undefined : backend("v2", state.canary),
    refusal: "refusal",
    queryAuthToken: guarded ? token : undefined,
    hostname: "models.example.com",
  });
  const { routeAction, service } = urlMapAction(map, { path: pathOf(request), headers: lowerCase(request) });
  const abort = routeAction?.faultInjectionPolicy?.abort;
  if (abort !== undefined) return abort.httpStatus;
  const weighted = routeAction?.weightedBackendServices?.map(
    ({ backendService, weight }) => [backendService, weight] as const,
  );
  return shares(weighted ?? [[service ?? "", 100]]);
};

/** The target local is asked for real, in haproxy.test.ts. */
const evaluations: Record<Exclude<TargetName, "local">, Evaluation> = { kubernetes, aws, gcp };

for (const [target, evaluate] of Object.entries(evaluations) as Array<[Exclude<TargetName, "local">, Evaluation]>) {
  describe(`the rules of the target ${target} send`, () => {
    for (const row of table) {
      it(`${row.title} to ${JSON.stringify(expected(row, target))}`, () => {
        assert.deepEqual(evaluate(row), expected(row, target));
      });
    }
  });
}
