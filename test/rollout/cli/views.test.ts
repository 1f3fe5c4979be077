import assert from "node:assert/strict";
import { viewFor } from "../../../rollout/cli/views";
import type { ClusterStatus, RolloutEvent } from "../../../rollout/events";

const cluster: ClusterStatus = {
  version: "v1",
  capacity: null,
  traffic: 100,
  replicas: { running: 4, wanted: 4 },
  workers: 4,
};
const waypoint = { primaryCapacity: 100, canaryCapacity: 100, canaryTraffic: 0 };
const events: RolloutEvent[] = [
  { event: "started", command: "deploy", service: "words", version: "v2", notices: [] },
  { event: "update", message: "v2: none of the traffic yet" },
  { event: "status", primary: cluster },
  { event: "progress", resource: "cluster-v2", message: "\x1b[31mthe head\x1b[0m starts\nslowly" },
  { event: "reached", waypoint, seconds: 3, primary: cluster, canary: { ...cluster, version: "v2" } },
  { event: "finished", outcome: "completed", version: "v2", seconds: 4 },
];

/** What a view writes to a terminal, or to something else. */
function output(isTTY: boolean, columns = 80) {
  const written: string[] = [];
  const out = { isTTY, columns, write: (text: string) => written.push(text) > 0 } as unknown as NodeJS.WriteStream;
  return { out, written, text: () => written.join("") };
}

/** What a terminal shows: erased lines are gone. */
function shown(written: string[]): string[] {
  const lines: string[] = [];
  for (const text of written) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequence that moves up and erases what is below
    const erased = /^\x1b\[(\d+)A\x1b\[0J$/.exec(text);
    if (erased === null) lines.push(...text.replace(/\n$/, "").split("\n"));
    else lines.splice(lines.length - Number(erased[1]));
  }
  return lines;
}

describe("The view of a command", () => {
  describe("that is no terminal", () => {
    it("is a line for each thing that happens, with the seconds before it and no control characters", () => {
      const { out, text } = output(false);
      const view = viewFor(false, out);
      for (const event of events) view.onEvent(event);
      view.close();
      assert.doesNotMatch(text(), /[^\P{Cc}\n]/u);
      const lines = text().trimEnd().split("\n");
      for (const line of lines) assert.match(line, /^ +\d+\.\d s {2}\S| {2}/);
      assert.deepEqual(
        lines.map((line) => line.replace(/^ +\d+\.\d s {2}/, "")),
        [
          "deploy words, version v2",
          "update: v2: none of the traffic yet",
          "  cluster-v2: the head starts",
          "    slowly",
          "reached primary 100% capacity, canary 100% capacity and 0% traffic after 3.0 s",
          "  primary v1          capacity 100%  traffic 100%  replicas 4/4  workers 4",
          "  canary  v2          capacity 100%  traffic 100%  replicas 4/4  workers 4",
          "completed after 4.0 s",
        ],
      );
    });
  });

  describe("in JSON", () => {
    it("is one object a line with the time and the whole event, on a terminal too", () => {
      for (const isTTY of [false, true]) {
        const { out, text } = output(isTTY);
        const view = viewFor(true, out);
        for (const event of events) view.onEvent(event);
        view.close();
        const lines = text().trimEnd().split("\n");
        const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
        for (const { time } of parsed) assert.equal(new Date(time as string).toISOString(), time);
        assert.deepEqual(
          parsed.map(({ time: _time, ...event }) => event),
          events,
        );
        assert.equal(Object.keys(parsed[0]!)[0], "time");
      }
    });
  });

  describe("on a terminal", () => {
    it("keeps the clusters, the update and what it waits for below what is done", async () => {
      const { out, written } = output(true);
      const view = viewFor(false, out);
      try {
        for (const event of events.slice(0, 4)) view.onEvent(event);
        await new Promise((resolve) => setTimeout(resolve, 600));
        const [started, primary, update, waiting, ...more] = shown(written);
        assert.equal(started, "deploy words, version v2");
        assert.match(primary!, /^primary v1 +capacity 100%/);
        assert.match(update!, /^[|/\\-] v2: none of the traffic yet {2}\d s$/);
        assert.equal(waiting, "  cluster-v2: the head starts slowly");
        assert.deepEqual(more, []);
        view.onEvent(events[4]!);
        assert.ok(!shown(written).some((line) => line.includes("the head starts")));
      } finally {
        view.close();
      }
    });

    it("leaves only what is done when it ends, and writes nothing after that", async () => {
      const { out, written } = output(true);
      const view = viewFor(false, out);
      for (const event of events) view.onEvent(event);
      view.close();
      assert.deepEqual(
        shown(written).map((line) => line.split(" ")[0]),
        ["deploy", "reached", "", "", "completed"],
      );
      const { length } = written;
      await new Promise((resolve) => setTimeout(resolve, 600));
      assert.equal(written.length, length);
    });

    it("cuts what is kept to the terminal's width, so that it can be erased", () => {
      const { out, written } = output(true, 30);
      const view = viewFor(false, out);
      view.onEvent(events[2]!);
      view.close();
      assert.deepEqual(
        written.filter((text) => text.startsWith("primary")).map((text) => text.trimEnd().length <= 29),
        [true],
      );
    });
  });
});
