import assert from "node:assert/strict";
import { compare, type Intent, type ResourceQuota } from "../../../components/kubernetes/quotas";
import type { PlacedVersion, Version } from "../../../components/record";
import type { Pod } from "../../../provider/kubernetes/pods";
import { version } from "../builders";
import { settings } from "./settingsForTests";

const groups = { worker_nodes: [{ name: "gpu", resources: { CPU: 1, GPU: 1 }, min_nodes: 0, max_nodes: 8 }] };

/** Four replicas, of so many GPUs each; undefined: their code says it. */
function of(name: string, gpus?: number): Version {
  const options = gpus === undefined ? {} : { ray_actor_options: { num_gpus: gpus } };
  const deployments = [{ name: "Model", num_replicas: 4, ...options }];
  return version(name, { applications: [{ import_path: "app:app", deployments }], compute_config: groups });
}

const running = (primary: Version): Intent["recorded"] => ({
  primary: { ...primary, cluster: primary.name, capacity: null, traffic: 100 } satisfies PlacedVersion,
});

type Amounts = Record<string, number | string>;

function quota(hard: Amounts, used: Amounts = {}): ResourceQuota {
  const words = (values: Amounts) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
  return { metadata: { name: "fits" }, status: { hard: words(hard), used: words(used) } };
}

/** A head and four workers with a GPU each, of the version's cluster. */
function podsOf(name: string): Pod[] {
  const pod = (type: string, requests: Record<string, string>): Pod => ({
    metadata: {
      name: type,
      labels: { "rayshift.io/cluster": `sample-service-${name}`, "ray.io/node-type": type },
    },
    spec: { containers: [{ resources: { requests } }] },
  });
  return [pod("head", { cpu: "1" }), ...Array(4).fill(pod("worker", { cpu: "1", "nvidia.com/gpu": "1" }))];
}

const rollout = (surge: number | undefined, gpus?: number): Intent => ({
  wanted: of("v2", gpus),
  recorded: running(of("v1", gpus)),
  maxSurgePercent: surge,
});

describe("quotas before a rollout", () => {
  it("are large enough where they just fit 100 + surge", () => {
    const fits = quota({ "requests.nvidia.com/gpu": 6, pods: 8 }, { "requests.nvidia.com/gpu": 4, pods: 5 });
    const own = podsOf("v1");
    assert.deepEqual(compare(settings({ namespace: "models" }), rollout(50, 1), [fits], own), {
      problems: [],
      notices: [],
    });
    assert.deepEqual(compare(settings({ namespace: "models" }), rollout(50), [fits], own), {
      problems: [],
      notices: [],
    });
  });

  it("that are too small for the GPUs of the spec are a problem, with the surge that fits", () => {
    const small = quota({ "requests.nvidia.com/gpu": 6, "count/pods": 7 }, { "requests.nvidia.com/gpu": 4 });
    const { problems } = compare(settings({ namespace: "models" }), rollout(undefined, 1), [small], podsOf("v1"));
    assert.deepEqual(
      problems.map(({ rule, remedy }) => [rule, remedy]),
      [
        [
          "has a quota that is too small: ResourceQuota models/fits leaves this service 6 of requests.nvidia.com/gpu (6); " +
            "v1 and v2, both in full, take at least 8",
          "--max-surge-percent 50 fits, or raise the quota",
        ],
        [
          "has a quota that is too small: ResourceQuota models/fits leaves this service 7 of count/pods (7); " +
            "v1 and v2, both in full, take at least 10",
          "--max-surge-percent 25 fits, or raise the quota",
        ],
      ],
    );
  });

  it("are told of where the code says how many GPUs a replica takes, by what those that run take", () => {
    const small = quota({ "requests.nvidia.com/gpu": 6 }, { "requests.nvidia.com/gpu": 4 });
    const { problems, notices } = compare(settings({ namespace: "models" }), rollout(75), [small], podsOf("v1"));
    assert.deepEqual(problems, []);
    assert.match(
      notices.join(),
      /100 \+ 75 percent of v1 and v2 take 7, and pods would be refused: --max-surge-percent 50/,
    );
  });

  it("count what other people's pods have", () => {
    const shared = quota({ "requests.nvidia.com/gpu": 8 }, { "requests.nvidia.com/gpu": 7 });
    const { problems } = compare(settings({ namespace: "models" }), rollout(50, 1), [shared], podsOf("v1"));
    assert.match(problems[0]?.rule ?? "", /leaves this service 5 of .* \(8, and other pods have 3\)/);
  });

  it("have to fit the first version alone", () => {
    const first: Intent = { wanted: of("v1", 1), recorded: undefined };
    const left = (gpus: number) =>
      compare(settings({ namespace: "models" }), first, [quota({ "requests.nvidia.com/gpu": gpus })], []);
    assert.deepEqual(left(4).problems, []);
    assert.match(left(3).problems[0]?.rule ?? "", /leaves this service 3 .*; v1 takes at least 4/);
  });

  it("have to fit the processors and memory of heads, of the autoscaler beside each, and of the workers", () => {
    const first: Intent = { wanted: of("v1", 1), recorded: undefined };
    const rule = (own: Record<string, unknown>, hard: Amounts) =>
      compare(settings({ namespace: "models", ...own }), first, [quota(hard)], []).problems[0]?.rule ?? "";
    assert.equal(rule({}, { "requests.cpu": "5500m", "requests.memory": "4608Mi" }), "");
    assert.match(rule({}, { "requests.cpu": "5400m" }), /this service 5\.4 of requests\.cpu .* takes at least 5\.5$/);
    assert.match(rule({}, { memory: "4Gi" }), /this service 4096Mi of memory .* takes at least 4608Mi$/);
    const small = { autoscalerResources: { cpu: "200m", memory: "256Mi" } };
    assert.equal(rule(small, { cpu: 5.2, memory: "4352Mi" }), "");
    assert.match(rule(small, { cpu: "5199m" }), /at least 5\.2$/);
  });

  it("count the head that runs as it is, and the canary's by the settings", () => {
    const fits = { "requests.cpu": "8500m" };
    assert.deepEqual(compare(settings(), rollout(50, 1), [quota(fits, { "requests.cpu": 5 })], podsOf("v1")), {
      problems: [],
      notices: [],
    });
    const large = { autoscalerResources: { cpu: 1 } };
    const { problems } = compare(settings(large), rollout(50, 1), [quota(fits, { "requests.cpu": 5 })], podsOf("v1"));
    assert.match(problems[0]?.rule ?? "", /v1 and v2 take at least 9$/);
    assert.match(problems[0]?.remedy ?? "", /--max-surge-percent 25 fits/);
  });

  it("take a pod for what Kubernetes counts of it", () => {
    const requests = (cpu: string) => ({ resources: { requests: { cpu } } });
    const before = { containers: [requests("300m")], initContainers: [requests("700m")] };
    const beside = {
      containers: [requests("600m")],
      initContainers: [{ ...requests("200m"), restartPolicy: "Always" }],
    };
    const own = podsOf("v1").map((pod, index) => ({
      ...pod,
      spec: { ...(index === 0 ? before : beside), overhead: { cpu: "100m" } },
    }));
    const other = quota({ "requests.cpu": 5 }, { "requests.cpu": 5 });
    const { problems } = compare(settings(), rollout(50, 1), [other], own);
    assert.match(problems[0]?.rule ?? "", /leaves this service 4\.4 of requests\.cpu \(5, and other pods have 0\.6\)/);
  });

  it("of other kinds, or for some pods only, are left to the API server", () => {
    const cpus = quota({ "limits.cpu": 1 });
    const scoped: ResourceQuota = { ...quota({ pods: 1 }), spec: { hard: { pods: "1" }, scopes: ["BestEffort"] } };
    assert.deepEqual(compare(settings({ namespace: "models" }), rollout(undefined, 1), [cpus, scoped], podsOf("v1")), {
      problems: [],
      notices: [],
    });
  });
});
