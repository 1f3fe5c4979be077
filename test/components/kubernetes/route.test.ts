import assert from "node:assert/strict";
import { headBudget, networkPolicy } from "../../../components/kubernetes/policies";
import {
  gateway,
  httpRoute,
  noCanaryAnswer,
  securityPolicy,
  tokenData,
  tokenSecret,
} from "../../../components/kubernetes/route";
import { settings } from "./settingsForTests";

const args = (own: Record<string, unknown> = {}) => ({
  service: "sample-service",
  stack: "rayshift/dev",
  settings: settings({ namespace: "models", ...own }),
});
const v1 = (weight: number) => ({ version: "v1", weight });
const v2 = (weight: number) => ({ version: "v2", weight });

interface Rule {
  matches: Array<{ headers?: Array<{ type: string; name: string; value: string }> }>;
  backendRefs?: Array<{ name: string; port: number; weight: number }>;
  filters?: Array<{ type: string; extensionRef?: object; requestRedirect?: { hostname: string; statusCode: number } }>;
  timeouts?: object;
}
const rulesOf = (...given: Parameters<typeof httpRoute>) => httpRoute(...given).manifest.spec.rules as Rule[];
const byHeader = (rules: Rule[], name: string, value?: string) =>
  rules.find(({ matches }) =>
    matches[0]?.headers?.some((header) => header.name === name && (value === undefined || header.value === value)),
  );
const traffic = (rules: Rule[]) => rules.find(({ matches }) => matches[0]?.headers === undefined)?.backendRefs;

describe("the route of a service", () => {
  const rolling = rulesOf(args(), { primary: v1(75), canary: v2(25) });

  it("sends requests by the weights to the services that KubeRay makes", () => {
    assert.deepEqual(traffic(rolling), [
      { name: "sample-service-v1-serve-svc", port: 8000, weight: 75 },
      { name: "sample-service-v2-serve-svc", port: 8000, weight: 25 },
    ]);
    assert.deepEqual(traffic(rulesOf(args(), { primary: v2(100) })), [
      { name: "sample-service-v2-serve-svc", port: 8000, weight: 100 },
    ]);
  });

  it("sends a request with the version header to that role's version, a canary without traffic too", () => {
    const rules = rulesOf(args(), { primary: v1(100), canary: v2(0) });
    for (const [role, name] of [
      ["primary", "sample-service-v1-serve-svc"],
      ["canary", "sample-service-v2-serve-svc"],
    ] as const) {
      const rule = byHeader(rules, "X-ANYSCALE-VERSION", role);
      assert.equal(rule?.matches[0]?.headers?.[0]?.type, "Exact");
      assert.deepEqual(rule?.backendRefs, [{ name, port: 8000, weight: 1 }]);
    }
  });

  it("answers a request for a canary by itself when there is none", () => {
    const rule = byHeader(rulesOf(args(), { primary: v1(100) }), "X-ANYSCALE-VERSION", "canary");
    assert.deepEqual(rule?.filters?.[0]?.extensionRef, {
      group: "gateway.envoyproxy.io",
      kind: "HTTPRouteFilter",
      name: noCanaryAnswer(args()).metadata.name,
    });
    assert.equal(rule?.backendRefs, undefined);
    assert.equal(noCanaryAnswer(args()).spec.directResponse.statusCode, 404);
  });

  it("ends no request for the time that it takes", () => {
    for (const rule of rolling.filter(({ backendRefs }) => backendRefs !== undefined)) {
      assert.deepEqual(rule.timeouts, { request: "0s" });
    }
  });

  it("has nothing but the Gateway API's own where the implementation is another", () => {
    const rules = rulesOf(args({ gateway: { implementation: "other" } }), { primary: v1(100) });
    assert.doesNotMatch(JSON.stringify(rules), /envoy|timeouts/);
  });

  it("keeps the rules that all traffic takes in their places, since a gateway may know them by those", () => {
    for (const implementation of ["envoy", "other"]) {
      const given = args({ gateway: { implementation } });
      const [alone, beside] = [
        rulesOf(given, { primary: v1(100) }),
        rulesOf(given, { primary: v1(75), canary: v2(25) }),
      ];
      for (const rules of [alone, beside]) {
        assert.equal(rules[0]?.matches[0]?.headers, undefined);
        assert.equal(rules[1], byHeader(rules, "X-ANYSCALE-VERSION", "primary"));
      }
    }
  });

  it("answers probes by a marker that is another one for each state of the route, and the same for the same", () => {
    const marker = (...given: Parameters<typeof httpRoute>) => httpRoute(...given).marker;
    const states = [
      marker(args(), { primary: v1(100) }),
      marker(args(), { primary: v1(75), canary: v2(25) }),
      marker(args(), { primary: v1(74), canary: v2(26) }),
      marker(args(), { primary: v2(75), canary: v1(25) }),
      marker(args({ hostname: "models.example.com" }), { primary: v1(100) }),
    ];
    assert.equal(new Set(states).size, states.length);
    assert.equal(marker(args(), { primary: v1(75), canary: v2(25) }), states[1]);
    const probe = byHeader(rolling, "X-Rayshift-Probe");
    assert.equal(probe?.matches[0]?.headers?.[0]?.value, states[1]);
    assert.deepEqual(probe?.filters?.[0]?.requestRedirect, {
      hostname: `${states[1]}.rayshift.invalid`,
      statusCode: 302,
    });
  });

  it("belongs to the gateway of the settings, its listener and host name", () => {
    const given = { gateway: { namespace: "edge", listener: "https" }, hostname: "models.example.com" };
    const { spec } = httpRoute(args(given), { primary: v1(100) }).manifest;
    assert.deepEqual(spec.parentRefs, [{ name: "shared", namespace: "edge", sectionName: "https" }]);
    assert.deepEqual((spec as { hostnames?: string[] }).hostnames, ["models.example.com"]);
    const { spec: plain } = httpRoute(args(), { primary: v1(100) }).manifest;
    assert.deepEqual(plain.parentRefs, [{ name: "shared", namespace: "models" }]);
  });
});

describe("the objects around the route", () => {
  it("are a gateway only where its class is given", () => {
    assert.equal(gateway(args()), undefined);
    const own = gateway(args({ gateway: { className: "eg", port: 8080 } }));
    assert.equal(own?.spec.gatewayClassName, "eg");
    assert.equal(own?.spec.listeners[0]?.port, 8080);
    assert.deepEqual(own?.spec.listeners[0]?.allowedRoutes, { namespaces: { from: "Same" } });
    const apart = gateway(args({ gateway: { className: "eg", namespace: "edge" } }));
    assert.deepEqual(apart?.spec.listeners[0]?.allowedRoutes, { namespaces: { from: "All" } });
  });

  it("ask for the query token, which a cluster never sees", () => {
    const policy = securityPolicy(args());
    assert.deepEqual(policy.spec.targetRefs, [
      { group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "sample-service" },
    ]);
    assert.ok(policy.spec.apiKeyAuth.extractFrom[0]?.headers.includes("Authorization"));
    assert.equal(policy.spec.apiKeyAuth.sanitize, true);
    const secret = tokenSecret(args());
    assert.equal(secret.metadata.name, policy.spec.apiKeyAuth.credentialRefs[0]?.name);
    const values = Object.values(tokenData("abc")).map((value) => Buffer.from(value, "base64").toString());
    assert.deepEqual(values.sort(), ["Bearer abc", "abc"]);
  });

  it("let requests in from the gateway's pods, the service's own and the operator, and everybody to the dashboard only", () => {
    const { spec } = networkPolicy(args());
    assert.deepEqual(spec.podSelector.matchLabels, { "rayshift.io/service": "sample-service" });
    const open = spec.ingress.filter((rule) => !("from" in rule));
    assert.deepEqual(open, [{ ports: [{ port: 8265, protocol: "TCP" }] }]);
    const serving = spec.ingress.filter(({ ports }) => ports?.some(({ port }) => port === 8000));
    assert.match(JSON.stringify(serving), /envoy-gateway-system.*kuberay-operator/);
  });

  it("keep an eviction from taking a head", () => {
    const head = headBudget("sample-service-v1", args());
    // KubeRay's clusters have no scale: the API server counts nothing else for them.
    assert.equal(head.spec.minAvailable, 1);
    assert.deepEqual(head.spec.selector.matchLabels, {
      "rayshift.io/cluster": "sample-service-v1",
      "ray.io/node-type": "head",
    });
  });
});
