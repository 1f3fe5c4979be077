import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Change } from "../../provider/serve/changes";
import { getApplications } from "../../provider/serve/dashboard";
import { history, plan } from "../../rollout/index";
import { isDeployed, openSession } from "../../rollout/session";
import { TestProject } from "./project";

const cluster = "v1";

/** One real cluster that is updated in place; the tests build on each other. */
describe("an update in place on this host", function () {
  this.timeout(300_000);
  this.bail(true);
  let project: TestProject;
  before(() => {
    project = new TestProject();
  });
  after(async () => {
    await project.remove([cluster]);
  });

  /** As the first version but for its name and these options of its deployment. */
  function service(version: string, options: object = {}): Record<string, unknown> {
    const deployments = [{ name: "Versions", num_replicas: 2, ...options }];
    return {
      ...project.service(version),
      env_vars: { VERSION: cluster },
      applications: [{ import_path: "versions:app", deployments }],
    };
  }

  /** Runs the command line as a script would, and gives the events that it prints. */
  async function deploy(wanted: Record<string, unknown>, ...flags: string[]): Promise<Record<string, unknown>[]> {
    const file = join(project.folder, "service.yaml");
    writeFileSync(file, stringify(wanted));
    const { code, stdout, stderr } = await project.rayshift("deploy", "-f", file, "--json", ...flags);
    assert.equal(code, 0, stdout.slice(-2000) + stderr);
    return stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  async function replicaIds(): Promise<string[]> {
    const { stack } = await openSession({ folder: project.folder });
    const outputs = await stack.outputs();
    assert.ok(isDeployed(outputs));
    const address = outputs.targets.clusters[cluster];
    assert.ok(address !== undefined, "the cluster is another one");
    const { applications } = await getApplications(address);
    return applications.default!.deployments.Versions!.runningIds.toSorted();
  }

  /** What is planned, what is said while it is done, and what became of the replicas. */
  async function updateInPlace(
    wanted: Record<string, unknown>,
  ): Promise<{ told: Change[]; kept: number; ids: string[] }> {
    const before = await replicaIds();
    const planned = await plan({ folder: project.folder, service: wanted, inPlace: true });
    const events = await deploy(wanted, "--in-place");
    const said = events.find(({ event }) => event === "changes");
    assert.deepEqual(said?.changes, planned.changes);
    assert.equal(planned.kind, "inPlace");
    const ids = await replicaIds();
    return { told: planned.changes!, kept: ids.filter((id) => before.includes(id)).length, ids };
  }

  const kinds = (changes: Change[]) => changes.map(({ deployment, kind }) => `${deployment} ${kind}`);

  it("starts from a service that runs, whose URL the last event of its deploy names", async () => {
    const events = await deploy(service("v1"));
    const { event, outcome, url } = events.at(-1)!;
    assert.deepEqual([event, outcome], ["finished", "deployed"]);
    assert.match(String(url), /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.equal((await replicaIds()).length, 2);
  });

  it("that is said to be lightweight keeps the replicas", async () => {
    const { told, kept, ids } = await updateInPlace(service("v2", { max_ongoing_requests: 7 }));
    assert.deepEqual(kinds(told), ["Versions lightweight", "* none"]);
    assert.deepEqual([kept, ids.length], [2, 2]);
  });

  it("that is said to be heavyweight replaces the replicas", async () => {
    const options = { max_ongoing_requests: 7, ray_actor_options: { num_cpus: 0.1, num_gpus: 1 } };
    const { told, kept, ids } = await updateInPlace(service("v3", options));
    assert.deepEqual(kinds(told), ["Versions heavyweight", "* none"]);
    assert.deepEqual([kept, ids.length], [0, 2]);
    const again = await plan({ folder: project.folder, service: service("v3", options), inPlace: true });
    assert.equal(again.kind, "unchanged");
  });

  it("is told by the history, version by version", async () => {
    const rollouts = await history({ folder: project.folder });
    assert.deepEqual(
      rollouts.map(({ kind, from, to, outcome }) => [kind, from, to, outcome]),
      [
        ["inPlace", "v2", "v3", "completed"],
        ["inPlace", "v1", "v2", "completed"],
        ["firstDeploy", undefined, "v1", "completed"],
      ],
    );
  });
});
