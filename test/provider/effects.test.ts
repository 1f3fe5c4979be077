import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Effect, effect, effectChannel, effectNow } from "../../provider/effects";
import { writeFiles } from "../../provider/local/haproxyProcess";
import { putApplications } from "../../provider/serve/dashboard";

describe("effects", () => {
  const seen: string[] = [];
  const note = (message: unknown) => {
    const { name, detail, when } = message as Effect;
    seen.push(`${when} ${name}: ${detail}`);
  };
  beforeEach(() => {
    seen.length = 0;
    subscribe(effectChannel, note);
  });
  afterEach(() => {
    unsubscribe(effectChannel, note);
  });

  it("are published before and after, and not as done when they fail", async () => {
    assert.equal(await effect("one", "a", async () => seen.push("it happens")), 2);
    assert.equal(
      effectNow("two", "b", () => 5),
      5,
    );
    await assert.rejects(effect("three", "c", () => Promise.reject(new Error("no"))));
    assert.deepEqual(seen, [
      "before one: a",
      "it happens",
      "after one: a",
      "before two: b",
      "after two: b",
      "before three: c",
    ]);
  });

  it("are published for what the provider does to Ray Serve and to HAProxy's files", async () => {
    const server = createServer((_, response) => response.end()).listen(0, "127.0.0.1");
    await new Promise((listening) => server.once("listening", listening));
    const dashboardUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await putApplications({ dashboardUrl }, { applications: [], target_capacity: 50 });
    server.close();
    const directory = mkdtempSync(join(tmpdir(), "rayshift-effects-"));
    writeFiles(directory, { port: 1, primary: "v1", backends: [] });
    rmSync(directory, { recursive: true });
    const put = `PUT Serve config: ${dashboardUrl}, target_capacity 50`;
    const write = `write HAProxy's files: ${directory}`;
    assert.deepEqual(seen, [`before ${put}`, `after ${put}`, `before ${write}`, `after ${write}`]);
  });
});
