import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { status } from "../../rollout/index";
import { type CrashOrder, type Instant, orderVariable, readLog, type Victim } from "../chaos/crash";
import { InvariantWatch } from "../e2e/invariants";
import { root } from "../setup/support";
import { BUILD_MS } from "./bed/bed";
import { kubernetesSources } from "./full/sources";
import { ServiceOnBed } from "./service";

const replicas = 24;
const surge = 50;
const mostWorkers = (replicas * (100 + surge)) / 100;
const pair = ["v1", "v2"] as const;
const LOOK_MS = 500;

/** A sample of what the engine, the provider and the driver do in a rollout: each kind of effect, with each victim. */
const kills: Array<{ at: Instant; victim: Victim }> = [
  { at: { name: "apply RayService", occurrence: 0, when: "after" }, victim: "engine" },
  { at: { name: "PUT Serve config", occurrence: 1, when: "before" }, victim: "driver" },
  { at: { name: "apply HTTPRoute", occurrence: 0, when: "before" }, victim: "engine" },
  { at: { name: "apply HTTPRoute", occurrence: 0, when: "after" }, victim: "driver" },
  { at: { name: "PUT Serve config", occurrence: 2, when: "after" }, victim: "engine" },
  { at: { name: "delete RayService", occurrence: 0, when: "before" }, victim: "engine" },
];

/**
 * Dozens of GPU workers over fake nodes: the invariants of docs/design.md, sampled from pods, Ray's answers and what Envoy
 * divides requests by, while rollouts are broken off. Real and fake parts as in the tests of rollouts.
 */
describe("rollouts on Kubernetes with dozens of GPU workers", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let service: ServiceOnBed;
  let primary: (typeof pair)[number] = "v1";
  let commands = 0;

  before(async () => {
    service = await ServiceOnBed.start({
      nodes: mostWorkers / 4,
      gpusPerNode: 4,
      quota: { pods: mostWorkers + 2, gpus: mostWorkers },
    });
    const { code, stderr } = await service.project.rayshift("deploy", "-f", file("v1"));
    assert.equal(code, 0, stderr);
  });
  after(() => service?.stop());

  const file = (version: string) => {
    const written = service.project.serviceFile(version, { replicas });
    const [group] = parse(readFileSync(written, "utf8")).compute_config.worker_nodes;
    const compute = { worker_nodes: [{ ...group, max_nodes: replicas }] };
    writeFileSync(written, stringify({ ...parse(readFileSync(written, "utf8")), compute_config: compute }));
    return written;
  };
  const other = () => (primary === "v1" ? "v2" : "v1");
  const rollOut = ["--max-surge-percent", String(surge)];

  /** A rollout to the other version, broken off at an instant. */
  const broken = async (kill: CrashOrder["kill"]) => {
    const log = join(service.project.folder, `effects-${commands++}.jsonl`);
    const crash = join(root, "dist", "test", "chaos", "crash.js");
    const order: CrashOrder = { log, haproxyConfig: "", ...(kill === undefined ? {} : { kill }) };
    const environment = { NODE_OPTIONS: `--require=${crash}`, [orderVariable]: JSON.stringify(order) };
    const ran = await service.project.rayshiftWith(environment, "deploy", "-f", file(other()), ...rollOut);
    return { ...ran, log: readLog(log) };
  };

  /** Runs something under requests, with the invariants watched. */
  const safely = async <T>(run: () => Promise<T>): Promise<T> => {
    const { api, kubeconfig } = service.bed;
    const { namespace, envoyAdmin: envoy } = service;
    const sources = kubernetesSources({ api, kubeconfig, namespace, service: "versions", versions: pair, envoy });
    const watch = new InvariantWatch(sources, { full: replicas, surge, workers: mostWorkers }, LOOK_MS);
    const traffic = await service.send();
    let answers: Record<string, number> = {};
    try {
      return await run();
    } finally {
      await watch.stop();
      answers = await traffic.stop();
      assert.deepEqual(watch.violations, []);
      assert.deepEqual(
        Object.keys(answers).filter((answer) => answer !== "v1" && answer !== "v2"),
        [],
        JSON.stringify(answers),
      );
      // Fewer than this prove nothing.
      assert.ok(watch.weighed >= 10, `${watch.weighed} of ${watch.samples} samples with weights`);
    }
  };

  const rests = async (version: string) => {
    assert.deepEqual(await service.rayServices(), [`versions-${version}`]);
    const { state, primary: now } = await status({ folder: service.project.folder });
    assert.deepEqual([state, now?.version, now?.replicas?.running], ["RUNNING", version, replicas]);
    assert.deepEqual(await service.refusals(), []);
  };

  it("keep every invariant, within a quota that just fits", async () => {
    const { code, stderr, log } = await safely(() => broken(undefined));
    assert.equal(code, 0, stderr);
    primary = other();
    await rests(primary);
    const names = new Set(log.flatMap((line) => ("name" in line ? [line.name] : [])));
    for (const { at } of kills) assert.ok(names.has(at.name), `${at.name} is among ${[...names].join(", ")}`);
  });

  for (const { at, victim } of kills) {
    it(`keep them where the ${victim} is killed ${at.when} "${at.name}" #${at.occurrence}, and go on`, async () => {
      await safely(async () => {
        const { code, log, stdout, stderr } = await broken({ at, victim });
        assert.ok(
          log.some((line) => "killed" in line),
          "nothing was killed",
        );
        assert.notEqual(code, 3, `the version was blamed for the kill: ${stdout}${stderr}`);
        const again = await service.project.rayshift("deploy", "-f", file(other()), ...rollOut);
        assert.equal(again.code, 0, again.stdout + again.stderr);
      });
      primary = other();
      await rests(primary);
    });
  }
});
