import assert from "node:assert/strict";
import {
  gateway,
  httpRoute,
  noCanaryAnswer,
  securityPolicy,
  tokenData,
  tokenSecret,
} from "../../components/kubernetes/route";
import { markerHost, probeHeader } from "../../provider/kubernetes/dataPlane";
import { countAnswers } from "../answers";
import { settings } from "../components/kubernetes/settingsForTests";
import { expected, type Outcome, type RoutingState, type Row, table, token } from "../routing/requests";
import { ApiError, type KubernetesObject } from "./bed/api";
import { type Bed, BUILD_MS, startBed } from "./bed/bed";
import { ENVOY_PORT, GATEWAY_CLASS } from "./bed/gateway";
import { rayService } from "./bed/objects";
import { until } from "./bed/until";
import { Traffic } from "./traffic";

const SECONDS = 120;
/** Envoy divides by chance: of so many requests a share is within {@link TOLERANCE} of its weight in all but one of a million tries. */
const REQUESTS = 400;
const TOLERANCE = 11;
/** Enough that a route with no backends for an instant shows. */
const [CANARIES, PER_SECOND] = [20, 100];

/**
 * The table of requests that all targets share, through a real Envoy by the objects that the program declares. Fakes: the
 * nodes, and what answers in the pods.
 */
describe("a real Envoy with the route of the target kubernetes sends", function () {
  this.timeout(BUILD_MS);
  let bed: Bed;
  let namespace: string;
  let url: string;

  before(async () => {
    bed = await startBed("gateway");
    await bed.addNode({ name: "gpu-0", cpus: 16, gpus: 2 });
    namespace = await bed.namespace();
    url = `http://127.0.0.1:${await bed.open(ENVOY_PORT)}`;
    for (const version of ["v1", "v2"]) {
      const path = `/apis/ray.io/v1/namespaces/${namespace}/rayservices/models-${version}`;
      await bed.api.apply(path, rayService(`models-${version}`, 1, { VERSION: version }));
    }
    await applied("gateway.networking.k8s.io/v1", "gateways", gateway(args()));
    await applied("v1", "secrets", {
      apiVersion: "v1",
      kind: "Secret",
      ...tokenSecret(args()),
      data: tokenData(token),
    });
  });
  after(() => bed?.stop());

  const args = (implementation = "envoy") => ({
    service: "models",
    stack: "rayshift/dev",
    settings: settings({ namespace, gateway: { name: "edge", className: GATEWAY_CLASS, implementation } }),
  });
  const pathOf = (version: string, plural: string, name: string) =>
    `/${version === "v1" ? "api" : "apis"}/${version}/namespaces/${namespace}/${plural}/${name}`;
  const applied = async (version: string, plural: string, object: object | undefined) => {
    const manifest = object as KubernetesObject;
    await bed.api.apply(pathOf(version, plural, String(manifest.metadata.name)), manifest);
  };
  const statusOf = async (headers: Record<string, string>) =>
    (await fetch(url, { headers, redirect: "manual", signal: AbortSignal.timeout(10_000) })).status;

  /** Declares a state, and waits until Envoy goes by it. */
  const route = async ({ primary, canary }: RoutingState, guarded: boolean, implementation = "envoy") => {
    const given = args(implementation);
    const { marker, manifest } = httpRoute(given, {
      primary: { version: "v1", weight: primary },
      canary: canary === undefined ? undefined : { version: "v2", weight: canary },
    });
    const [group, plural] = ["gateway.envoyproxy.io/v1alpha1", "securitypolicies"];
    await applied(group, "httproutefilters", noCanaryAnswer(given));
    await applied("gateway.networking.k8s.io/v1", "httproutes", manifest);
    if (guarded) await applied(group, plural, securityPolicy(given));
    else {
      await bed.api.delete(pathOf(group, plural, given.service)).catch((error: unknown) => {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      });
    }
    const authorization = `Bearer ${token}`;
    await until(`the route ${markerHost(marker)} in Envoy`, SECONDS, async () => {
      const seen = await Promise.all([
        statusOf({ authorization, [probeHeader]: marker }),
        statusOf({}),
        statusOf({ authorization, "x-anyscale-version": "primary" }),
        statusOf({ authorization, "x-anyscale-version": "canary" }),
      ]).catch(() => []);
      // Others than Envoy have nobody who says that there is no canary.
      const unanswered = implementation === "envoy" ? 404 : 200;
      const wanted = [302, guarded ? 401 : 200, 200, canary === undefined ? unanswered : 200];
      return seen.join() === wanted.join() || undefined;
    });
  };
  const observed = async ({ request }: Row): Promise<Outcome> => {
    const counts = await countAnswers(url + request.path, request.headers, REQUESTS);
    const [[only = ""] = [], ...others] = Object.entries(counts);
    if (others.length === 0 && /^\d{3}$/.test(only)) return Number(only);
    return Object.fromEntries(Object.entries(counts).map(([answer, count]) => [answer, (100 * count) / REQUESTS]));
  };

  const states = [...new Set(table.map(({ state, guarded }) => JSON.stringify([state, guarded])))];
  for (const key of states) {
    const [state, guarded] = JSON.parse(key) as [RoutingState, boolean];
    const weights = state.canary === undefined ? "one version" : `${state.primary} and ${state.canary} %`;
    describe(`with ${weights}${guarded ? "" : ", open to all"}`, () => {
      before(() => route(state, guarded));
      for (const row of table.filter((each) => JSON.stringify([each.state, each.guarded]) === key)) {
        const wanted = expected(row, "kubernetes");
        it(`${row.title} to ${JSON.stringify(wanted)}`, async () => {
          const seen = await observed(row);
          if (typeof wanted === "number" || typeof seen === "number") return assert.deepEqual(seen, wanted);
          assert.deepEqual(Object.keys(seen).sort(), Object.keys(wanted).sort());
          for (const [version, percent] of Object.entries(wanted)) {
            const given = seen[version] ?? 0;
            // What goes one way goes so without exception.
            assert.ok(Math.abs(given - percent) <= (percent === 100 ? 0 : TOLERANCE), `${given} % to ${version}`);
          }
        });
      }
    });
  }

  for (const implementation of ["envoy", "other"]) {
    it(`no request astray while canaries come and go, by the objects for ${implementation}`, async () => {
      await route({ primary: 100 }, false, implementation);
      const traffic = new Traffic(url, {}, PER_SECOND);
      for (let canary = 0; canary < CANARIES; canary++) {
        await route({ primary: 50, canary: 50 }, false, implementation);
        await route({ primary: 100 }, false, implementation);
      }
      const answers = await traffic.stop();
      assert.deepEqual(Object.keys(answers).sort(), ["v1", "v2"], JSON.stringify(answers));
    });
  }
});
