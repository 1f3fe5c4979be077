import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { UpdateFailed } from "../../rollout/errors";
import { wait } from "../../rollout/status";
import { FakePulumi, noStack } from "./fakePulumi";

describe("wait", function () {
  this.timeout(30_000);

  it("looks a last time when its time is over, and not a poll later", async () => {
    const cli = new FakePulumi({ "stack output": [noStack] });
    const { PATH, RAYSHIFT_HOME } = process.env;
    try {
      process.env.PATH = cli.environment.PATH;
      delete process.env.RAYSHIFT_HOME;
      await assert.rejects(wait({ folder: cli.folder, timeoutSeconds: 0.3 }), UpdateFailed);
      const looks = readdirSync(join(cli.folder, "calls")).map(
        (name) => statSync(join(cli.folder, "calls", name)).mtimeMs,
      );
      // The first look alone may take all the time.
      const [first = 0, last = first] = looks.sort();
      assert.ok(last - first < 1000, `${last - first} ms`);
    } finally {
      process.env.PATH = PATH;
      if (RAYSHIFT_HOME !== undefined) process.env.RAYSHIFT_HOME = RAYSHIFT_HOME;
      cli.remove();
    }
  });
});
