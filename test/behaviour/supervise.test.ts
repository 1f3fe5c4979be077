import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DeadlinePassed, RolledBack, status, supervise } from "../../rollout/index";
import { configOf } from "../../rollout/return";
import { isDeployed, openSession } from "../../rollout/session";
import { Scenario } from "./scenario";

describe("Supervision", function () {
  this.timeout(180_000);
  let service: Scenario;
  before(async () => {
    service = new Scenario(["v1", "v2", "v3", "v4"]);
    await service.begin("v1");
  });
  after(() => service.end());

  async function assertAsBefore(): Promise<void> {
    assert.deepEqual([await service.answering(), service.clusters()], ["v1", ["v1"]]);
    await service.assertNothingToDo();
  }

  /** What it ends with; Ray has to find out first that a version is unhealthy. */
  async function supervisedUntilItActs(): Promise<unknown> {
    let error: unknown;
    for (let tries = 0; error === undefined && tries < 20; tries++) {
      error = await service
        .superviseOnce()
        .then(() => undefined)
        .catch((reason: unknown) => reason);
    }
    return error;
  }

  it("has nothing to do where no rollout is under way", async () => {
    assert.deepEqual(await service.superviseOnce(), { outcome: "unchanged", version: "v1" });
  });

  it("leaves a held rollout alone that is well", async () => {
    await service.deploy("v2", { canaryPercent: 50, maxSurgePercent: 50 });
    assert.deepEqual(await service.superviseOnce(), { outcome: "held", version: "v2" });
    assert.deepEqual(service.events, []);
  });

  it("takes a held rollout back whose deadline has passed", async () => {
    service.project.configure({ rolloutTimeoutMinutes: 0.5 });
    await service.deploy("v2", { canaryPercent: 40 });
    const { deadline } = await status({ folder: service.folder });
    await sleep(Math.max(0, Date.parse(deadline!) - Date.now()));
    service.project.configure({ rolloutTimeoutMinutes: undefined });
    await assert.rejects(service.superviseOnce(), (error: Error) => {
      assert.ok(error instanceof DeadlinePassed);
      assert.equal(error.exitCode, 4);
      return true;
    });
    await assertAsBefore();
  });

  it("takes a held rollout back, within its surge, that has become unhealthy", async () => {
    const flag = join(service.folder, "break");
    await service.deploy("v3", { canaryPercent: 50, maxSurgePercent: 25 }, { BREAK: flag });
    writeFileSync(flag, "");
    const error = await supervisedUntilItActs();
    assert.ok(error instanceof RolledBack, String(error));
    assert.equal(error.exitCode, 3);
    await assertAsBefore();
  });

  it("takes a held canary back whose idle workers do not end, by ending it before the primary grows", async () => {
    const flag = join(service.folder, "break-with-idle-workers");
    const tried = { BREAK: flag };
    service.project.configure({ idleTimeoutSeconds: 600 });
    await service.deploy("v3", { canaryPercent: 75, maxSurgePercent: 50 }, tried);
    await service.deploy("v3", { canaryPercent: 50 }, tried);
    service.project.configure({ idleTimeoutSeconds: 3 });
    writeFileSync(flag, "");
    const error = await supervisedUntilItActs();
    assert.ok(error instanceof RolledBack, String(error));
    const said = service.events.flatMap((event) => (event.event === "notice" ? [event.message] : []));
    assert.match(said.join("\n"), /cannot grow beside v3, which is unhealthy .*\d worker nodes/s);
    // The primary has the traffic before it has the capacity, and grows when nothing is left of the canary.
    assert.deepEqual(service.reached, ["100 0 0"]);
    await assertAsBefore();
  });

  it("finishes a way back that was interrupted", async () => {
    await service.deploy("v2", { canaryPercent: 50, maxSurgePercent: 25 });
    const interrupt = new AbortController();
    const back = service.rollback({
      signal: interrupt.signal,
      onEvent: (event) => event.event === "reached" && interrupt.abort(),
    });
    await assert.rejects(back, { name: "AbortError" });
    assert.deepEqual(await service.superviseOnce(), { outcome: "rolledBack", version: "v1" });
    await assertAsBefore();
  });

  it("lets a primary grow that a broken-off way back left alone and small", async () => {
    for (const goOn of [() => service.superviseOnce(), () => service.rollback()]) {
      await service.deploy("v2", { canaryPercent: 50, maxSurgePercent: 50 });
      const { config, stack, signal } = await openSession({ folder: service.folder });
      const outputs = await stack.outputs(signal);
      assert.ok(isDeployed(outputs));
      const { primary, startedAt } = outputs.rollout;
      const ends = { primaryCapacity: 50, canaryCapacity: 0, canaryTraffic: 0, direction: "back", immediate: true };
      config.edit({ ...configOf(primary), waypoint: { primary: "v1", canary: "v2", startedAt, ...ends } });
      const { code, stdout, stderr } = await service.project.pulumi("up", "--yes", "--skip-preview");
      assert.equal(code, 0, stdout + stderr);
      assert.equal((await status({ folder: service.folder })).primary?.capacity, 50);
      assert.equal((await goOn()).outcome, "rolledBack");
      await assertAsBefore();
    }
  });

  it("goes on until its signal ends it, and reports what it did", async () => {
    await service.deploy("v2", { canaryPercent: 10, maxSurgePercent: 50 });
    const over = new AbortController();
    const notices: string[] = [];
    const watching = supervise({
      folder: service.folder,
      intervalSeconds: 0.2,
      signal: over.signal,
      onEvent: (event) => {
        if (event.event === "notice") notices.push(event.message);
      },
    });
    process.kill(service.project.headPid("v2")!, "SIGKILL");
    while (notices.length === 0) await sleep(100);
    assert.match(notices[0]!, /v2 was rolled back/);
    await sleep(3000);
    over.abort();
    assert.deepEqual(await watching, { outcome: "unchanged", version: "v1" });
    assert.equal(notices.length, 1);
    await assertAsBefore();
  });

  it("takes a held canary back whose head is there and silent, by ending it before the primary grows", async () => {
    await service.deploy("v4", { canaryPercent: 50, maxSurgePercent: 50 });
    process.kill(service.project.headPid("v4")!, "SIGSTOP");
    await assert.rejects(service.superviseOnce(), (error: Error) => {
      assert.ok(error instanceof RolledBack, String(error));
      assert.match(error.message, /v4: its head does not answer/);
      return true;
    });
    assert.deepEqual(service.reached, ["100 0 0"]);
    await assertAsBefore();
  });
});
