import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preflight } from "../../../components/local/preflight";
import { InvalidInput } from "../../../components/problems";
import type { Version } from "../../../components/record";
import { rollingOut, running, spec, v2 } from "../builders";

describe("preflight", () => {
  const python = process.env.RAYSHIFT_PYTHON ?? "python3";
  const host = { home: "/home/user/.rayshift", python, haproxy: "/tools/haproxy" };
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-preflight-"));
    mkdirSync(join(folder, "inner"));
    writeFileSync(join(folder, "inner", "app.py"), "raise SystemExit('this code was run')\napp = 1\n");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const wanted = (importPaths: string[], changes: Record<string, unknown> = {}): Version => {
    const applications = importPaths.map((import_path, index) => ({
      name: `a${index}`,
      route_prefix: `/a${index}`,
      import_path,
    }));
    const own = spec({ applications, ...changes });
    return { name: "v9", spec: own, digest: "9", workingDirectory: { source: folder, digest: "9", excludes: [] } };
  };
  const problemsOf = async (version: Version, recorded = running) => {
    try {
      await preflight(host, version, recorded, undefined);
    } catch (error) {
      assert.ok(InvalidInput.isInstance(error), String(error));
      return error.problems.map(({ path, rule, remedy }) => `${path} ${rule}; ${remedy}`);
    }
    return [];
  };

  it("finds the modules of the working directory without running them", async () => {
    assert.deepEqual(await problemsOf(wanted(["inner.app:app"])), []);
  });

  it("names every import path that leads nowhere, and the nearest name", async () => {
    const problems = await problemsOf(wanted(["inner.app:app", "inner.app:apo", "nowhere.app:app"]));
    assert.equal(problems.length, 2);
    assert.match(problems[0]!, /^applications\[1\]\.import_path leads nowhere: .* has no apo; did you mean `app`\?/);
    assert.match(problems[1]!, /^applications\[2\]\.import_path leads nowhere: no module nowhere\.app is there/);
  });

  it("asks nothing about a version that runs already, or whose modules come with its runtime environment", async () => {
    const bad = wanted(["nowhere:app"]);
    const recorded = rollingOut([100, 100, 10]);
    assert.deepEqual(await problemsOf({ ...bad, digest: recorded.primary.digest }, recorded), []);
    assert.deepEqual(await problemsOf({ ...bad, digest: recorded.canary!.digest }, recorded), []);
    assert.deepEqual(await problemsOf(wanted(["nowhere:app"], { requirements: ["nowhere"] })), []);
    assert.deepEqual(await problemsOf(v2), []);
  });

  describe("of the load balancer's port", () => {
    let server: Server;
    let port: number;
    beforeEach(async () => {
      server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      port = (server.address() as { port: number }).port;
    });
    afterEach(() => server.close());

    it("refuses one that is in use, before a first deploy only", async () => {
      await assert.rejects(preflight(host, v2, undefined, port), (error) => {
        assert.ok(InvalidInput.isInstance(error));
        assert.deepEqual(
          error.problems.map(({ path, value }) => [path, value]),
          [["rayshift:port", port]],
        );
        return true;
      });
      await preflight(host, v2, running, port);
    });

    it("takes a free one", async () => {
      await new Promise((resolve) => server.close(resolve));
      await preflight(host, v2, undefined, port);
    });
  });
});
