import assert from "node:assert/strict";
import { Random } from "../chaos/random";
import { onStage, Stage } from "./stage";

const [primary, canary] = ["v1", "v2"].map((name) => ({ name, replicas: 4, fails: false }));

/** Somebody sends the primary's cluster another capacity. */
function shrinkPrimary({ simulation: { world } }: Stage): void {
  const cluster = [...world.clusters.values()].find(({ name }) => name === `simulated-${primary!.name}`)!;
  cluster.config = { ...cluster.config!, target_capacity: 50 };
  cluster.serve.put(cluster.config);
}

describe("a primary that somebody took capacity from", function () {
  this.timeout(60_000);
  for (const command of [{ do: "rollback" } as const, { do: "deploy", version: "v1" } as const]) {
    it(`gets it back with a ${command.do}`, async () => {
      const stage = new Stage(new Random(1), [primary!, canary!]);
      await onStage(stage, false, async () => {
        await stage.carryOut({ do: "deploy", version: "v1" });
        if (command.do === "rollback") await stage.carryOut({ do: "deploy", version: "v2", canaryPercent: 20 });
        shrinkPrimary(stage);
        assert.ok("result" in (await stage.carryOut(command)), stage.simulation.world.trace.join("\n"));
        await stage.simulation.clock.pass(5000);
        await stage.expectAtRest("v1");
      });
      assert.deepEqual(stage.violations, []);
    });
  }
});
