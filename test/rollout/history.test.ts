import assert from "node:assert/strict";
import { InvalidInput } from "../../components/problems";
import { history } from "../../rollout/history";
import { FakePulumi } from "./fakePulumi";
import { RealPulumi } from "./realPulumi";

const service = (version: string) => ({
  name: "words",
  version_name: version,
  applications: [{ import_path: "app:app" }],
});

describe("history", function () {
  this.timeout(120_000);

  it("refuses a count that is none", async () => {
    for (const maxItems of ["0", "-1", "many", 1.5]) {
      await assert.rejects(history({ maxItems }), (error) => {
        assert.ok(InvalidInput.isInstance(error));
        assert.deepEqual(
          error.problems.map(({ path }) => path),
          ["--max-items"],
        );
        return true;
      });
    }
  });

  describe("of the real CLI", () => {
    let pulumi: RealPulumi;
    before(() => {
      pulumi = new RealPulumi();
    });
    after(() => pulumi.remove());

    it("is that of the stack's own updates", async () => {
      const { folder } = pulumi;
      assert.deepEqual(await history({ folder }), []);
      await pulumi.run(["stack", "init"]);
      const up = (message: string) => pulumi.run(["up", "--yes", "--skip-preview", "--message", message]);
      pulumi.configure({ service: service("v1") });
      await up("first");
      const at = {
        primary: "v1",
        canary: "v2",
        primaryCapacity: 50,
        canaryCapacity: 50,
        canaryTraffic: 50,
        direction: "forward",
        startedAt: new Date().toISOString(),
        surge: 50,
      };
      pulumi.configure({ service: service("v2"), waypoint: at });
      await up("half");
      const rejected = { version: "v2", digest: "d", reason: "no model", at: new Date().toISOString() };
      pulumi.configure({ service: service("v1"), waypoint: undefined, rejected });
      await up("back");
      const [rollout, deploy, ...none] = await history({ folder });
      const { startedAt, endedAt, seconds, ...told } = rollout!;
      assert.deepEqual(told, {
        kind: "rollout",
        from: "v1",
        to: "v2",
        outcome: "rolledBack",
        reason: "no model",
        surge: 50,
        updates: 2,
        message: "back",
      });
      assert.equal(startedAt, at.startedAt);
      assert.ok(seconds! > 0 && seconds! < 60, String(seconds));
      assert.ok(Date.now() - Date.parse(endedAt!) < 60_000, endedAt);
      assert.deepEqual([deploy!.kind, deploy!.to, none], ["firstDeploy", "v1", []]);
      assert.equal((await history({ folder, maxItems: "1" })).length, 1);
    });
  });

  /** The answers are arranged: 250 updates of the real CLI would take a quarter of an hour. */
  it("reads as many pages as the rollouts that are wanted need, and tells none that it knows in part", async () => {
    const entry = (n: number) => ({
      kind: "update",
      message: `${n}`,
      startTime: new Date(n * 60_000).toISOString(),
      endTime: new Date(n * 60_000 + 1000).toISOString(),
      result: "succeeded",
      config: { "rayshift:service": { value: JSON.stringify(service(`v${n}`)), secret: false } },
    });
    const newestFirst = Array.from({ length: 250 }, (_, index) => entry(249 - index));
    const pages = [0, 100, 200].map((from) => ({ stdout: JSON.stringify(newestFirst.slice(from, from + 100)) }));
    for (const [maxItems, calls] of [
      [5, 1],
      [150, 2],
      [1000, 3],
    ] as const) {
      const cli = new FakePulumi({ "stack history": pages });
      const { PATH, RAYSHIFT_HOME } = process.env;
      try {
        process.env.PATH = cli.environment.PATH;
        delete process.env.RAYSHIFT_HOME;
        const rollouts = await history({ folder: cli.folder, maxItems });
        assert.equal(rollouts.length, Math.min(maxItems, 250));
        assert.ok(rollouts.slice(0, -1).every(({ kind }) => kind === "rollout"));
        assert.deepEqual(
          cli.calls().map(({ args }) => args.slice(0, 8)),
          [1, 2, 3]
            .slice(0, calls)
            .map((page) => [
              ...["stack", "history", "--json", "--show-secrets=false"],
              ...["--page", String(page), "--page-size", "100"],
            ]),
        );
      } finally {
        process.env.PATH = PATH;
        if (RAYSHIFT_HOME !== undefined) process.env.RAYSHIFT_HOME = RAYSHIFT_HOME;
        cli.remove();
      }
    }
  });
});
