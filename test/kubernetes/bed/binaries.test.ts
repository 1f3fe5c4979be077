import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { buildParts, cacheFolder, partFolder } from "./binaries";
import { controlPlane, etcd, gatewayDefinitions, goModOf, kuberayDefinitions, kwok, pinnedVersion } from "./parts";

describe("Kubernetes test bed: building its parts", () => {
  let folder: string;
  let env: NodeJS.ProcessEnv;
  let told: string;
  const stream = new Writable({
    write(text, _encoding, done) {
      told += text;
      done();
    },
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-kubernetes-"));
    env = { ...process.env, XDG_CACHE_HOME: join(folder, "cache"), PATH: join(folder, "bin") };
    mkdirSync(join(folder, "bin"));
    told = "";
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** A stand-in for Go's command: what it would cost minutes to build is an empty file. */
  const writeGo = (version: string, build: string) => {
    const script = `#!/bin/sh
PATH=/usr/bin:/bin
case "$1" in
  version) echo "go version go${version} linux/amd64" ;;
  build) while [ "$1" != -o ]; do shift; done; target="$2"; ${build} ;;
esac
`;
    writeFileSync(join(folder, "bin", "go"), script);
    chmodSync(join(folder, "bin", "go"), 0o755);
  };

  it("pins every part to a version, and gives another pin another folder", () => {
    for (const part of [etcd, controlPlane, kuberayDefinitions, gatewayDefinitions, kwok]) {
      const version = pinnedVersion(goModOf(part), part.main);
      assert.match(version, /^v\d+\.\d+\.\d+$/);
      assert.ok(partFolder(part, env).startsWith(join(cacheFolder(env), `${part.name}-${version}-`)));
    }
    const other = { ...etcd, linkerFlags: () => ["-X main.a=b"] };
    assert.notEqual(partFolder(other, env), partFolder(etcd, env));
    assert.throws(() => pinnedVersion("module x\n", "example.com/y"), /does not pin example\.com\/y/);
  });

  it("builds what is missing once, and says how long it takes", async () => {
    writeGo("9.0", `echo built >> ${join(folder, "builds")}; touch "$target"`);
    const [first, second] = [await buildParts([etcd], env, stream), await buildParts([etcd], env, stream)];
    assert.deepEqual(first, second);
    assert.deepEqual(readdirSync(first.etcd!), ["etcd"]);
    assert.match(told, /etcd v[\d.]+: builds it once, takes 1 to 2 minutes\n.*: done in \d+ s, /);
    assert.equal(told.match(/builds it once/g)?.length, 1);
  });

  it("lets two processes build one after the other, so that the second has nothing to do", async () => {
    writeGo("9.0", `echo built >> ${join(folder, "builds")}; sleep 1; touch "$target"`);
    await Promise.all([buildParts([etcd], env, stream), buildParts([etcd], env, stream)]);
    assert.equal(told.match(/builds it once/g)?.length, 1);
    assert.match(told, /waiting for it/);
  });

  it("leaves nothing in the cache of a build that failed, and shows Go's own message", async () => {
    writeGo("9.0", `touch "$target"; echo "module lookup disabled" >&2; exit 1`);
    await assert.rejects(buildParts([etcd], env, stream), /module lookup disabled\n\s+what to do: see Go's message/);
    assert.deepEqual(readdirSync(cacheFolder(env)), []);
    assert.equal(existsSync(partFolder(etcd, env)), false);
  });

  it("names the Go that is needed when there is none, or an old one", async () => {
    await assert.rejects(buildParts([etcd], env, stream), /there is no Go on PATH\n.*install Go 1\.\d+/);
    writeGo("1.19", "true");
    await assert.rejects(buildParts([etcd], env, stream), /Go 1\.19 is too old/);
  });
});
