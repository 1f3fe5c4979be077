import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { haproxyConfig, haproxyFiles, portOf, type Routing, tokenDigest } from "../../../provider/local/haproxyConfig";

const routing: Routing = {
  port: 8123,
  backends: [
    { version: "v1", address: "127.0.0.1:9001", weight: 90 },
    { version: "v2", address: "127.0.0.1:9002", weight: 10 },
  ],
  primary: "v1",
  canary: "v2",
  queryAuthToken: "a-query-token",
};

describe("the configuration of HAProxy", () => {
  const files = haproxyFiles("/run/shop");
  const text = (changes: Partial<Routing> = {}) => haproxyConfig("/run/shop", { ...routing, ...changes });

  it("holds the weights in percent where requests are split, and none where the version header decides", () => {
    const [, traffic = "", pinned = ""] = text()[files.config]!.split(/^backend /m);
    assert.match(traffic, /server v1 127\.0\.0\.1:9001 weight 90 /);
    assert.match(traffic, /server v2 127\.0\.0\.1:9002 weight 10 /);
    assert.deepEqual(pinned.match(/weight \d+/g), ["weight 0", "weight 0"]);
  });

  it("listens on the loopback address only, on a port that can be read back", () => {
    assert.deepEqual(text()[files.config]!.match(/bind .*/g), ["bind 127.0.0.1:8123"]);
    assert.equal(portOf(text()[files.config]!), 8123);
  });

  it("keeps the token in no file, only what it can be recognised by", () => {
    const all = text();
    for (const [file, content] of Object.entries(all)) assert.ok(!content.includes("a-query-token"), file);
    assert.equal(all[files.tokens], `${tokenDigest("a-query-token")}\n`);
  });

  it("lets everybody in only when there is no token", () => {
    assert.equal(text()[files.access], "token\n");
    const open = haproxyConfig("/run/shop", { ...routing, queryAuthToken: undefined });
    assert.equal(open[files.access], "open\n");
    assert.equal(open[files.tokens], "");
  });

  it("maps only the roles that exist", () => {
    assert.equal(text()[files.roles], "primary v1\ncanary v2\n");
    assert.equal(text({ canary: undefined })[files.roles], "primary v1\n");
  });

  it("is accepted by HAProxy without a warning", () => {
    const directory = mkdtempSync(join(tmpdir(), "haproxy-config-"));
    try {
      for (const [file, content] of Object.entries(haproxyConfig(directory, routing))) writeFileSync(file, content);
      const binary = process.env.RAYSHIFT_HAPROXY;
      assert.ok(binary, "RAYSHIFT_HAPROXY names the HAProxy binary");
      // -dW makes every warning an error.
      execFileSync(binary, ["-c", "-dW", "-f", haproxyFiles(directory).config], { stdio: "pipe" });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
