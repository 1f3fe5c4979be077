import assert from "node:assert/strict";
import { InvalidInput } from "../../../components/problems";
import { parseStackConfig } from "../../../components/stackConfig";

const service = {
  name: "sample-service",
  image_uri: "example.com/ray:2.52.1",
  applications: [{ import_path: "app:app" }],
};
const cluster = { gateway: { name: "shared" } };

function config(kubernetes: unknown, changes: Record<string, unknown> = {}, own: Record<string, string> = {}) {
  return {
    target: "kubernetes",
    service: JSON.stringify({ ...service, ...changes }),
    ...(kubernetes === undefined ? {} : { kubernetes: JSON.stringify(kubernetes) }),
    ...own,
  };
}

function problemsOf(raw: Record<string, string>): string[] {
  try {
    parseStackConfig(raw);
  } catch (error) {
    assert.ok(InvalidInput.isInstance(error), String(error));
    return error.message.split("\n").slice(1);
  }
  return [];
}

describe("the stack config of the target kubernetes", () => {
  it("needs a gateway and nothing else", () => {
    const { kubernetes } = parseStackConfig(config(cluster));
    assert.deepEqual(kubernetes, {
      namespace: "default",
      networkPolicy: true,
      gateway: { name: "shared", port: 80, implementation: "envoy", podsNamespace: "envoy-gateway-system" },
    });
  });

  it("is refused without it, and without its gateway", () => {
    assert.match(problemsOf(config(undefined)).join(), /rayshift:kubernetes: is missing.*docs\/kubernetes.md/);
    assert.match(problemsOf(config({})).join(), /rayshift:kubernetes\.gateway: is missing/);
  });

  it("refuses keys of one target with another", () => {
    assert.match(problemsOf(config(cluster, {}, { port: "80" })).join(), /rayshift:port: .*gateway\.port/);
    const local = {
      service: JSON.stringify({ ...service, image_uri: undefined }),
      kubernetes: JSON.stringify(cluster),
    };
    assert.match(problemsOf(local).join(), /rayshift:kubernetes: .*the target is local/);
  });

  it("names all problems together, with the nearest key of one that is not known", () => {
    const wrong = {
      autoscalerResources: { cpu: "half", memory: 0 },
      namespace: "Models",
      kubeconfig: "~/.kube/config",
      gateway: { name: "shared", prot: 80 },
    };
    const problems = problemsOf(config(wrong, { image_uri: undefined, working_dir: "./code" })).join("\n");
    for (const expected of [
      /kubernetes\.namespace: "Models" must be of lower-case/,
      /kubernetes\.kubeconfig: .*absolute path/,
      /kubernetes\.autoscalerResources\.cpu: "half" must be an amount above 0.*200m/,
      /kubernetes\.autoscalerResources\.memory: 0 must be an amount above 0/,
      /unknown key `prot`; did you mean `port`/,
    ]) {
      assert.match(problems, expected);
    }
    const ofService = problemsOf(config(cluster, { image_uri: undefined, working_dir: "./code" })).join("\n");
    assert.match(ofService, /rayshift:service\.image_uri: is missing: .*runs in an image/);
    assert.match(ofService, /rayshift:service\.working_dir: "\.\/code" .*no pod sees/);
  });

  it("says what has no effect", () => {
    const { notices } = parseStackConfig(config(cluster, { tags: { team: "a" } }));
    assert.deepEqual(notices, ["`tags`: without effect on the target kubernetes"]);
  });
});
