import assert from "node:assert/strict";
import { refuseToMove } from "../../components/moved";
import { InvalidInput } from "../../components/problems";
import type { ClusterAddress } from "../../components/target";

type Config = Parameters<typeof refuseToMove>[0];

const local: ClusterAddress = { dashboardUrl: "http://127.0.0.1:1", serveAddress: "127.0.0.1:2" };
const onKubernetes: ClusterAddress = {
  kubernetes: { namespace: "models", context: "east", rayService: "sample-v1" },
  serveAddress: "sample-v1-serve-svc.models.svc:8000",
};
const inCloud = (instances: Extract<ClusterAddress, { instances?: unknown }>["instances"]) =>
  ({
    dashboardUrl: "https://10.0.0.1",
    dashboardToken: "t",
    instances,
    serveAddress: "10.0.0.1:8000",
  }) as ClusterAddress;

const kubernetes = (namespace: string) => ({ target: "kubernetes", kubernetes: { namespace } }) as Config;
const gcp = (project: string, zone: string) => ({ target: "gcp", gcp: { project, zone } }) as Config;

const problemsOf = (config: Config, ...clusters: ClusterAddress[]) => {
  try {
    refuseToMove(config, { clusters: Object.fromEntries(clusters.map((each, index) => [`v${index}`, each])) });
    return [];
  } catch (error) {
    assert.ok(InvalidInput.isInstance(error), String(error));
    return error.problems.map(({ path, value, rule }) => [path, value, /\((.*)\)/.exec(rule)?.[1]]);
  }
};

describe("a config that puts a running service somewhere else", () => {
  it("is no such one where nothing runs yet, or where the place is the same", () => {
    refuseToMove({ target: "local" } as Config, undefined);
    refuseToMove({ target: "local" } as Config, { clusters: {} });
    assert.deepEqual(problemsOf({ target: "local" } as Config, local, local), []);
    assert.deepEqual(problemsOf(kubernetes("models"), onKubernetes), []);
    assert.deepEqual(problemsOf({ target: "aws", aws: { region: "eu-west-1" } } as Config, inCloud(undefined)), []);
  });

  it("is refused for another target, which alone is told", () => {
    assert.deepEqual(problemsOf(kubernetes("models"), local), [["rayshift:target", "kubernetes", "local"]]);
    assert.deepEqual(problemsOf({ target: "local" } as Config, onKubernetes, onKubernetes), [
      ["rayshift:target", "local", "kubernetes"],
    ]);
  });

  it("is refused for another namespace, region, project or zone, all of it at once", () => {
    assert.deepEqual(problemsOf(kubernetes("team"), onKubernetes), [
      ["rayshift:kubernetes.namespace", "team", "models"],
    ]);
    const aws = inCloud({ cloud: "aws", region: "eu-west-1", clusterName: "c" });
    assert.deepEqual(problemsOf({ target: "aws", aws: { region: "us-east-1" } } as Config, aws), [
      ["rayshift:aws.region", "us-east-1", "eu-west-1"],
    ]);
    const there = inCloud({ cloud: "gcp", project: "mine", zone: "us-central1-a", clusterName: "c" });
    assert.deepEqual(problemsOf(gcp("other", "us-central1-b"), there), [
      ["rayshift:gcp.project", "other", "mine"],
      ["rayshift:gcp.zone", "us-central1-b", "us-central1-a"],
    ]);
  });

  it("is told what to do instead", () => {
    assert.throws(
      () => refuseToMove(kubernetes("team"), { clusters: { v1: onKubernetes } }),
      /invalid stack config.*nothing was changed.*set it back to models.*a stack of its own.*`rayshift terminate`/s,
    );
  });
});
