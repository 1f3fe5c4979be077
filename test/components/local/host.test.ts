import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { homeOf, localHost, runtimeDirectory, SetUpIncomplete } from "../../../components/local/host";

describe("homeOf", () => {
  it("is in the project's folder unless the environment says otherwise", () => {
    assert.equal(homeOf("/project", {}), "/project/.rayshift");
    assert.equal(homeOf("/project", { RAYSHIFT_HOME: "/elsewhere" }), "/elsewhere");
  });
});

describe("localHost", () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "rayshift-host-"));
  });
  afterEach(() => rmSync(home, { recursive: true }));

  const record = (tools: object) => writeFileSync(join(home, "toolchain.json"), JSON.stringify(tools));

  it("takes the tools that the set-up recorded", () => {
    record({ python: "/a/python", haproxy: "/a/haproxy" });
    assert.deepEqual(localHost(home, {}), { home, python: "/a/python", haproxy: "/a/haproxy" });
  });

  it("takes those of the environment first, with and without a record", () => {
    const environment = { RAYSHIFT_PYTHON: "/b/python", RAYSHIFT_HAPROXY: "/b/haproxy" };
    const both = { home, python: "/b/python", haproxy: "/b/haproxy" };
    assert.deepEqual(localHost(home, environment), both);
    record({ python: "/a/python", haproxy: "/a/haproxy" });
    assert.deepEqual(localHost(home, environment), both);
    assert.equal(localHost(home, { RAYSHIFT_PYTHON: "/b/python" }).haproxy, "/a/haproxy");
  });

  it("names what is missing and the command that sets it up", () => {
    const missing = (environment: NodeJS.ProcessEnv) => {
      try {
        localHost(home, environment);
      } catch (error) {
        assert.ok(error instanceof SetUpIncomplete);
        return error.message;
      }
      return undefined;
    };
    assert.match(missing({}) ?? "", /^Ray and HAProxy not set up for .*: run `npx rayshift setup`/);
    assert.match(missing({ RAYSHIFT_PYTHON: "/b/python" }) ?? "", /^HAProxy not set up/);
    record({ haproxy: "/a/haproxy" });
    assert.match(missing({}) ?? "", /^Ray not set up/);
  });
});

describe("runtimeDirectory", () => {
  const identity = { home: "/home/a/.rayshift", project: "rayshift", stack: "dev", part: "cluster-v1" };

  it("is the same for the same part of the same stack, whatever the environment", () => {
    const before = process.env.TMPDIR;
    const first = runtimeDirectory(identity);
    process.env.TMPDIR = "/var/tmp";
    try {
      assert.equal(runtimeDirectory(identity), first);
    } finally {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
    }
  });

  it("is another one for every other home, project, stack and part", () => {
    const others = [
      identity,
      { ...identity, home: "/b" },
      { ...identity, project: "b" },
      { ...identity, stack: "b" },
      { ...identity, part: "b" },
      // Parts that run together are not the same.
      { ...identity, project: "rayshiftdev", stack: "" },
    ];
    assert.equal(new Set(others.map(runtimeDirectory)).size, others.length);
  });

  it("belongs to the user and leaves room for the names of Unix sockets", () => {
    const directory = runtimeDirectory({ ...identity, home: `/${"long/".repeat(50)}`, part: "x".repeat(60) });
    assert.ok(directory.startsWith(`/tmp/rayshift-${process.getuid?.()}/`), directory);
    assert.ok(directory.length < 40, directory);
  });
});
