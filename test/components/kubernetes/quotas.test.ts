import assert from "node:assert/strict";
import { compare, type Intent, type ResourceQuota } from "../../../components/kubernetes/quotas";
import type { PlacedVersion, Version } from "../../../components/record";
import type { Pod } from "../../../provider/kubernetes/pods";
import { version } from "../builders";

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

function quota(hard: Record<string, number>, used: Record<string, number> = {}): ResourceQuota {
  const words = (values: Record<string, number>) =>
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
    assert.deepEqual(compare("models", rollout(50, 1), [fits], own), { problems: [], notices: [] });
    assert.deepEqual(compare("models", rollout(50), [fits], own), { problems: [], notices: [] });
  });

  it("that are too small for the GPUs of the spec are a problem, with the surge that fits", () => {
    const small = quota({ "requests.nvidia.com/gpu": 6, "count/pods": 7 }, { "requests.nvidia.com/gpu": 4 });
    const { problems } = compare("models", rollout(undefined, 1), [small], podsOf("v1"));
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
    const { problems, notices } = compare("models", rollout(75), [small], podsOf("v1"));
    assert.deepEqual(problems, []);
    assert.match(
      notices.join(),
      /100 \+ 75 percent of v1 and v2 take 7, and pods would be refused: --max-surge-percent 50/,
    );
  });

  it("count what other people's pods have", () => {
    const shared = quota({ "requests.nvidia.com/gpu": 8 }, { "requests.nvidia.com/gpu": 7 });
    const { problems } = compare("models", rollout(50, 1), [shared], podsOf("v1"));
    assert.match(problems[0]?.rule ?? "", /leaves this service 5 of .* \(8, and other pods have 3\)/);
  });

  it("have to fit the first version alone", () => {
    const first: Intent = { wanted: of("v1", 1), recorded: undefined };
    const left = (gpus: number) => compare("models", first, [quota({ "requests.nvidia.com/gpu": gpus })], []);
    assert.deepEqual(left(4).problems, []);
    assert.match(left(3).problems[0]?.rule ?? "", /leaves this service 3 .*; v1 takes at least 4/);
  });

  it("of other kinds, or for some pods only, are left to the API server", () => {
    const cpus = quota({ "requests.cpu": 1 });
    const scoped: ResourceQuota = { ...quota({ pods: 1 }), spec: { hard: { pods: "1" }, scopes: ["BestEffort"] } };
    assert.deepEqual(compare("models", rollout(undefined, 1), [cpus, scoped], podsOf("v1")), {
      problems: [],
      notices: [],
    });
  });
});
