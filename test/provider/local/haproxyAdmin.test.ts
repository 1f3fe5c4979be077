import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  addServer,
  ask,
  parseServers,
  prepareEntries,
  readCounts,
  readEntries,
  readServers,
  readWeights,
  tell,
} from "../../../provider/local/haproxyAdmin";
import { haproxyFiles, tokenDigest } from "../../../provider/local/haproxyConfig";
import { choosePort, startHaproxy, stopHaproxy } from "../../../provider/local/haproxyProcess";

describe("the admin socket of HAProxy", function () {
  this.timeout(15_000);
  let root: string;
  let directory: string;
  let socket: string;
  let alive: Server;
  beforeEach(async () => {
    alive = createHttpServer((_, answer) => answer.end());
    await new Promise<void>((resolve) => alive.listen(0, "127.0.0.1", resolve));
    root = mkdtempSync(join(tmpdir(), "admin-"));
    directory = join(root, "balancer");
    socket = haproxyFiles(directory).adminSocket;
    await startHaproxy(process.env.RAYSHIFT_HAPROXY!, directory, {
      port: await choosePort(directory),
      backends: [
        { version: "v1", address: "127.0.0.1:9", weight: 70 },
        { version: "v2", address: `127.0.0.1:${(alive.address() as AddressInfo).port}`, weight: 30 },
      ],
      primary: "v1",
      queryAuthToken: "first",
    });
  });
  afterEach(async () => {
    await stopHaproxy(directory, 0, AbortSignal.timeout(10_000));
    await new Promise((resolve) => alive.close(resolve));
    rmSync(root, { recursive: true, force: true });
  });

  it("tells each version's weight, and 0 for one that somebody took out", async () => {
    assert.deepEqual(
      Object.entries(await readWeights(socket)).map(([version, { weight }]) => [version, weight]),
      [
        ["v1", 70],
        ["v2", 30],
      ],
    );
    await tell(socket, ["set server traffic/v1 state maint", "set server traffic/v2 state drain"]);
    const taken = await readWeights(socket);
    assert.deepEqual([taken.v1?.weight, taken.v1?.status], [0, "suspended"]);
    assert.deepEqual([taken.v2?.weight, taken.v2?.status], [0, "suspended"]);
  });

  it("tells at once what was set, and that a dead server is down", async () => {
    await tell(socket, ["set server traffic/v1 weight 5", "set server traffic/v2 weight 95"]);
    assert.deepEqual(
      (await readServers(socket)).filter(({ proxy }) => proxy === "traffic").map(({ weight }) => weight),
      [5, 95],
    );
    const end = Date.now() + 6000;
    while ((await readWeights(socket)).v1?.status !== "down") assert.ok(Date.now() < end, "v1 is still up");
    assert.equal((await readWeights(socket)).v1?.weight, 5);
  });

  it("starts counting at nothing", async () => {
    assert.deepEqual((await readCounts(socket)).v1, {
      requests: 0,
      responses5xx: 0,
      connectionErrors: 0,
      responseErrors: 0,
    });
  });

  it("answers a sampler in a few milliseconds", async () => {
    const start = performance.now();
    for (let sample = 0; sample < 50; sample++) await readWeights(socket);
    const each = (performance.now() - start) / 50;
    assert.ok(each < 20, `${each} ms`);
  });

  it("passes HAProxy's own words on when a command is refused, whichever of the batch it is", async () => {
    await assert.rejects(
      tell(socket, [
        "set server traffic/v1 weight 1",
        "set server traffic/nobody weight 1",
        "set server traffic/v2 weight 2",
      ]),
      /No such server/,
    );
    await assert.rejects(addServer(socket, "traffic", "v1", "127.0.0.1:9"), /Already exists a server/);
    await assert.rejects(prepareEntries(socket, "acl", `${directory}/none`, []), /Unknown ACL identifier/);
  });

  it("puts prepared entries in use all at once, and only when told to", async () => {
    const { tokens, roles } = haproxyFiles(directory);
    const commit = await prepareEntries(socket, "acl", tokens, [tokenDigest("second")]);
    assert.deepEqual(await readEntries(socket, "acl", tokens), [tokenDigest("first")]);
    await tell(socket, [commit]);
    assert.deepEqual(await readEntries(socket, "acl", tokens), [tokenDigest("second")]);
    await tell(socket, [await prepareEntries(socket, "map", roles, ["primary v2", "canary v1"])]);
    assert.deepEqual((await readEntries(socket, "map", roles)).sort(), ["canary v1", "primary v2"]);
    await tell(socket, [await prepareEntries(socket, "acl", tokens, [])]);
    assert.deepEqual(await readEntries(socket, "acl", tokens), []);
  });

  it("says which socket does not answer", async () => {
    await stopHaproxy(directory, 0, AbortSignal.timeout(10_000));
    await assert.rejects(ask(socket, "show info"), /admin\.sock does not answer: .*(ECONNREFUSED|ENOENT)/);
  });

  it("refuses statistics in which it cannot find what it needs", async () => {
    assert.throws(() => parseServers("# pxname,svname,status\ntraffic,v1,UP\n"), /lack weight, uweight, addr/);
    const fake: Server = createServer((connection) => connection.resume().end("Permission denied\n"));
    const path = join(root, "fake.sock");
    await new Promise<void>((resolve) => fake.listen(path, resolve));
    await assert.rejects(readWeights(path), /Permission denied/);
    await new Promise((resolve) => fake.close(resolve));
  });
});
