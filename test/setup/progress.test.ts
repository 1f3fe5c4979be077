import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { importSetup } from "./support";

interface ProgressModule {
  Progress: new (options: {
    stream: { isTTY: boolean; write(text: string): void };
    quiet: boolean;
  }) => {
    reused(title: string, detail: string): void;
    during(title: string, expected: string, work: (note: (text: string) => void) => Promise<string>): Promise<void>;
  };
}

describe("setup: progress", () => {
  let told: string;
  const progressOn = async (isTTY: boolean, quiet = false) => {
    const { Progress } = await importSetup<ProgressModule>("progress.mjs");
    told = "";
    const write = (text: string) => {
      told += text;
    };
    return new Progress({ stream: { isTTY, write }, quiet });
  };

  it("says of which part each line is when several are under way", async () => {
    const progress = await progressOn(false);
    await Promise.all([
      progress.during("Slow", "takes long", async (note) => {
        await sleep(20);
        note("half way");
        await sleep(20);
        return "at last";
      }),
      progress.during("Fast", "takes no time", async () => "at once"),
    ]);
    assert.equal(
      told,
      "Slow: takes long\nFast: takes no time\nFast: done in 0 s, at once\nSlow: half way\nSlow: done in 0 s, at last\n",
    );
  });

  it("counts the seconds of each on a terminal, in one line that goes away", async () => {
    const progress = await progressOn(true);
    const work = async () => {
      await sleep(1200);
      return "at last";
    };
    await Promise.all([progress.during("One", "takes long", work), progress.during("Two", "as long", work)]);
    assert.ok(told.includes("\r\x1b[K  One: 1 s, Two: 1 s\r\x1b[K"), JSON.stringify(told));
    const lines = told.split("\n").map((line) => line.split("\r\x1b[K").at(-1));
    assert.deepEqual(lines, [
      "One: takes long",
      "Two: as long",
      "One: done in 1 s, at last",
      "Two: done in 1 s, at last",
      "",
    ]);
  });

  it("stops counting when a part fails, and hands its error on", async () => {
    const progress = await progressOn(true);
    const fails = () => Promise.reject(new Error("no network"));
    await assert.rejects(progress.during("One", "takes long", fails), /no network/);
    const before = told;
    await sleep(1100);
    assert.equal(told, before);
  });

  it("holds back what was reused until something has to be done", async () => {
    const progress = await progressOn(false, true);
    progress.reused("One", "in place");
    assert.equal(told, "");
    await progress.during("Two", "takes long", async () => "at last");
    assert.equal(told, "One: reused, in place\nTwo: takes long\nTwo: done in 0 s, at last\n");
  });
});
