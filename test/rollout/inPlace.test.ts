import assert from "node:assert/strict";
import type { PlacedVersion } from "../../components/record";
import { changesInPlace } from "../../rollout/inPlace";
import { version } from "../components/builders";

const placed = (applications: object[], rest: object = {}): PlacedVersion => ({
  ...version("v1", { applications, ...rest }),
  cluster: "v1",
  capacity: null,
  traffic: 100,
});

const application = (deployments: object[], rest: object = {}) => ({ import_path: "app:app", deployments, ...rest });

function kinds(before: object[], after: object[], rest: object = {}): string[] {
  const changes = changesInPlace(placed(before, rest), version("v2", { applications: after, ...rest }));
  return changes.map(({ application: name, deployment, kind }) => `${name}/${deployment} ${kind}`);
}

describe("changesInPlace", () => {
  it("says for every deployment whether its replicas are kept, and * for those that only the code names", () => {
    const before = [application([{ name: "A", num_replicas: 1 }, { name: "B" }, { name: "C" }])];
    const after = [
      application([{ name: "A", num_replicas: 2 }, { name: "B", ray_actor_options: { num_cpus: 2 } }, { name: "C" }]),
    ];
    const expected = ["default/A lightweight", "default/B heavyweight", "default/C none", "default/* none"];
    assert.deepEqual(kinds(before, after), expected);
  });

  it("says * once for an application that is built anew, that changes as a whole, comes or goes", () => {
    const named = (name: string, rest: object = {}) => ({
      ...application([]),
      name,
      route_prefix: `/${name}`,
      ...rest,
    });
    assert.deepEqual(kinds([named("a")], [named("a")]), ["a/* none"]);
    assert.deepEqual(kinds([named("a")], [named("a", { args: { x: 1 } })]), ["a/* heavyweight"]);
    assert.deepEqual(kinds([named("a")], [named("a", { route_prefix: "/other" })]), ["a/* lightweight"]);
    assert.deepEqual(kinds([named("a"), named("b")], [named("b"), named("c")]), [
      "c/* added",
      "a/* removed",
      "b/* none",
    ]);
  });

  it("counts what holds for the whole service as a part of each application", () => {
    const before = [application([], { runtime_env: { env_vars: { A: "1" } } })];
    const rest = { env_vars: { A: "1" } };
    assert.deepEqual(kinds(before, [application([])], rest), ["default/* none"]);
    assert.deepEqual(kinds(before, [application([])], { env_vars: { A: "2" } }), ["default/* heavyweight"]);
  });
});
