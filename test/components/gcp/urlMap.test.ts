import assert from "node:assert/strict";
import { type UrlMapArgs, urlMap, versionsMap } from "../../../components/gcp/urlMap";

const backend = (version: string, weight: number) => ({ version, weight, service: `backendServices/${version}` });
const args = (primary: number, canary?: number, changes: Partial<UrlMapArgs> = {}): UrlMapArgs => ({
  primary: backend("v1", primary),
  canary: canary === undefined ? undefined : backend("v2", canary),
  refusal: "backendServices/refusal",
  queryAuthToken: "token",
  hostname: "models.example.com",
  ...changes,
});
const rulesOf = (map: ReturnType<typeof urlMap>) => map.pathMatchers[0]?.routeRules ?? [];
const weightsOf = (given: UrlMapArgs) =>
  rulesOf(urlMap(given)).flatMap(({ routeAction }) => routeAction?.weightedBackendServices ?? []);

describe("the URL map of a service", () => {
  it("has weights within Google's bounds that sum to 100, and a plain service where all goes one way", () => {
    for (let canary = 1; canary < 100; canary++) {
      const weights = weightsOf(args(100 - canary, canary));
      assert.deepEqual(weights, [
        { backendService: "backendServices/v1", weight: 100 - canary },
        { backendService: "backendServices/v2", weight: canary },
      ]);
    }
    for (const whole of [args(100), args(100, 0), args(0, 100)]) assert.deepEqual(weightsOf(whole), []);
  });

  it("names both versions while there are two, whatever their weights", () => {
    for (const canary of [0, 1, 100]) {
      for (const map of [urlMap(args(100 - canary, canary)), versionsMap(args(100 - canary, canary))]) {
        const text = JSON.stringify(rulesOf(map));
        for (const version of ["v1", "v2"]) assert.ok(text.includes(`backendServices/${version}`));
      }
    }
    assert.ok(!JSON.stringify(urlMap(args(100))).includes("v2"));
  });

  it("has one action a rule, priorities that differ, and one way to match a header", () => {
    for (const map of [urlMap(args(75, 25)), urlMap(args(100)), versionsMap(args(75, 25))]) {
      const rules = rulesOf(map);
      assert.equal(new Set(rules.map(({ priority }) => priority)).size, rules.length);
      for (const { service, urlRedirect, routeAction, matchRules } of rules) {
        const actions = [service, urlRedirect, routeAction?.weightedBackendServices];
        assert.equal(actions.filter((each) => each !== undefined).length, 1);
        for (const { prefixMatch, fullPathMatch } of matchRules) {
          assert.equal([prefixMatch, fullPathMatch].filter((each) => each !== undefined).length, 1);
        }
      }
    }
  });

  it("ends no request of an hour, and tries again only what never reached a cluster", () => {
    const forwarding = rulesOf(urlMap(args(75, 25))).filter(({ routeAction }) => routeAction?.timeout !== undefined);
    assert.equal(forwarding.length, 3);
    for (const { routeAction } of forwarding) {
      assert.deepEqual(routeAction?.timeout, { seconds: "3600" });
      assert.deepEqual(routeAction?.retryPolicy?.retryConditions, ["connect-failure", "refused-stream"]);
    }
  });

  it("keeps the token from the clusters, and sends what it refuses to nobody even if the refusal fails", () => {
    for (const { service, routeAction, headerAction, urlRedirect } of rulesOf(urlMap(args(75, 25)))) {
      if (urlRedirect !== undefined) continue;
      const refuses = routeAction?.faultInjectionPolicy !== undefined;
      assert.equal(service === "backendServices/refusal", refuses);
      assert.deepEqual(headerAction?.requestHeadersToRemoves, refuses ? undefined : ["Authorization"]);
    }
    const { defaultService, pathMatchers } = urlMap(args(75, 25));
    assert.deepEqual([defaultService, pathMatchers[0]?.defaultService], Array(2).fill("backendServices/refusal"));
  });

  it("is tested by Google before it is taken: each role, no token, all traffic, where it is certain", () => {
    const described = (given: UrlMapArgs) =>
      urlMap(given).tests.map(({ description, service }) => [description, service]);
    assert.deepEqual(described(args(75, 25)), [
      ["the primary by its header", "backendServices/v1"],
      ["the canary by its header", "backendServices/v2"],
      ["a header without a token", "backendServices/refusal"],
      ["no token", "backendServices/refusal"],
    ]);
    assert.deepEqual(described(args(100, undefined, { queryAuthToken: undefined })), [
      ["the primary by its header", "backendServices/v1"],
      ["the canary by its header", "backendServices/refusal"],
      ["all traffic", "backendServices/v1"],
    ]);
    for (const { host } of urlMap(args(100)).tests) assert.equal(host, "models.example.com");
  });

  it("tells its weights by a redirect, to those who have the token", () => {
    const [marker] = rulesOf(urlMap(args(75, 25)));
    assert.deepEqual(marker?.urlRedirect, {
      pathRedirect: "/-/rayshift/weights/v1=75,v2=25",
      redirectResponseCode: "FOUND",
      stripQuery: true,
    });
    assert.deepEqual(marker?.matchRules[0]?.headerMatches, [
      { headerName: "Authorization", exactMatch: "Bearer token" },
    ]);
  });

  it("answers at the port of the versions by their header only", () => {
    const rules = rulesOf(versionsMap(args(75, 25)));
    for (const { service, matchRules } of rules.filter((each) => each.service !== "backendServices/refusal")) {
      const named = matchRules[0]?.headerMatches?.find(({ headerName }) => headerName === "X-ANYSCALE-VERSION");
      assert.equal(service, named?.exactMatch === "primary" ? "backendServices/v1" : "backendServices/v2");
    }
    assert.ok(!JSON.stringify(rules).includes("weightedBackendServices"));
  });
});
