import assert from "node:assert/strict";
import { connect } from "node:net";
import { deploy, status, supervise, terminate } from "../../../rollout/index";
import { versionAnswering } from "../../e2e/project";
import type { KubernetesObject } from "../bed/api";
import { BUILD_MS } from "../bed/bed";
import { whyNoNode } from "../bed/full/debianPackages";
import { RAY_IMAGE } from "../bed/full/images";
import { isReady } from "../bed/full/machine";
import { until } from "../bed/until";
import { FullService, surge } from "./service";

const PASSWORD = "of-the-test";
const REDIS_PORT = 6379;
const READY_SECONDS = 120;

/** A Redis in the namespace under the name `redis`, and the Secret `redis` with its password. */
async function startRedis({ bed: { api }, namespace }: FullService): Promise<void> {
  const within = `/api/v1/namespaces/${namespace}`;
  await api.create(`${within}/secrets`, { metadata: { name: "redis" }, stringData: { password: PASSWORD } });
  await api.create(`${within}/services`, {
    metadata: { name: "redis" },
    spec: { selector: { app: "redis" }, ports: [{ port: REDIS_PORT }] },
  });
  const secret = { secretKeyRef: { name: "redis", key: "password" } };
  await api.create(`${within}/pods`, {
    metadata: { name: "redis", labels: { app: "redis" } },
    spec: {
      containers: [
        {
          name: "redis",
          image: RAY_IMAGE,
          command: ["sh", "-c", 'printf "requirepass %s\\n" "$PASSWORD" | exec redis-server - --save ""'],
          env: [{ name: "PASSWORD", valueFrom: secret }],
          readinessProbe: { tcpSocket: { port: REDIS_PORT }, periodSeconds: 1 },
        },
      ],
    },
  });
  await until("Redis", READY_SECONDS, async () => isReady(await api.get(`${within}/pods/redis`)) || undefined);
}

/** How many keys it holds. */
async function keysIn({ bed, namespace }: FullService): Promise<number> {
  const { status } = await bed.api.get(`/api/v1/namespaces/${namespace}/pods/redis`);
  const socket = connect(await bed.open(REDIS_PORT, status.podIP), "127.0.0.1");
  socket.setEncoding("utf8").write(`AUTH ${PASSWORD}\r\nDBSIZE\r\nQUIT\r\n`);
  let said = "";
  for await (const part of socket) said += part;
  const [, count] = /^\+OK\r\n:(\d+)/.exec(said) ?? [];
  assert.ok(count !== undefined, said);
  return Number(count);
}

/**
 * Real parts and fakes as in the other tests of this folder, and a real Redis. The gateway is taken for one that cannot ask
 * for a token.
 */
describe("a service on a node of Kubernetes whose pods ask for the token and whose heads keep their state in Redis", function () {
  this.timeout(BUILD_MS);
  this.bail(true);
  let service: FullService;

  before(async function () {
    const why = whyNoNode();
    if (why !== undefined) {
      process.stderr.write(`${why}\n`);
      this.skip();
    }
    const redis = { address: `redis:${REDIS_PORT}`, passwordSecret: { name: "redis" } };
    service = await FullService.start(["v1", "v2"], { gateway: { implementation: "other" }, redis });
    await startRedis(service);
  });
  after(() => service?.stop());

  const answers = async (version: string) => {
    const reached = await service.reach();
    assert.equal(await versionAnswering(reached), version);
    for (const token of [undefined, "another"]) assert.equal(await versionAnswering({ ...reached, token }), "401");
  };
  const uids = (pods: KubernetesObject[]) => pods.map(({ metadata }) => metadata.uid).sort();

  it("answers those who have the token", async () => {
    assert.equal((await deploy({ folder: service.folder, file: service.file("v1") })).outcome, "deployed");
    await answers("v1");
    assert.ok((await keysIn(service)) > 0, "Redis keeps nothing of the head");
  });

  /** Resolves when another head has taken over from the one of a version, and as many replicas run as before. */
  const replaceHead = async (version: "v1" | "v2", role: "primary" | "canary") => {
    const workers = uids(await service.podsOf(version, "worker"));
    const before = (await status({ folder: service.folder }))[role]?.replicas?.running;
    const [head] = await service.podsOf(version, "head");
    assert.ok(head && before);
    await service.deletePod(head);
    await until("another head", READY_SECONDS, async () => {
      const [other] = await service.podsOf(version, "head");
      const taken = other !== undefined && other.metadata.uid !== head.metadata.uid && isReady(other);
      const now = (await status({ folder: service.folder }))[role];
      return (taken && now?.replicas?.running === before) || undefined;
    });
    assert.deepEqual(uids(await service.podsOf(version, "worker")), workers);
  };

  it("keeps its workers and fails no request while another head takes over", async () => {
    const seen = await service.underLoad(() => replaceHead("v1", "primary"));
    process.stderr.write(`      another head: ${seen.seconds.toFixed(0)} s, ${seen.load.sent} requests\n`);
    assert.equal((await status({ folder: service.folder })).state, "RUNNING");
  });

  it("keeps a held canary under supervision while another head takes over", async () => {
    await service.safely(() =>
      deploy({ folder: service.folder, file: service.file("v2"), canaryPercent: 50, maxSurgePercent: surge }),
    );
    const over = new AbortController();
    const said: string[] = [];
    const seen = await service.underLoad(async () => {
      const supervising = supervise({
        folder: service.folder,
        intervalSeconds: 2,
        signal: over.signal,
        onEvent: (event) => said.push(JSON.stringify(event)),
      });
      try {
        await replaceHead("v2", "canary");
      } finally {
        over.abort();
        await supervising;
      }
    });
    process.stderr.write(`      another head: ${seen.seconds.toFixed(0)} s, ${seen.load.sent} requests\n`);
    assert.deepEqual([said, (await status({ folder: service.folder })).canary?.traffic], [[], 50]);
  });

  it("rolls out with no request failed", async () => {
    const { result } = await service.safely(() =>
      deploy({ folder: service.folder, file: service.file("v2"), maxSurgePercent: surge }),
    );
    assert.equal(result.outcome, "completed");
    await answers("v2");
  });

  it("leaves nothing when it is ended, in Redis neither", async () => {
    await terminate({ folder: service.folder });
    assert.deepEqual(await service.rayServices(), []);
    assert.deepEqual(await service.names("/apis/ray.io/v1", "rayclusters"), []);
    assert.deepEqual(await service.names("/api/v1", "pods"), ["redis"]);
    assert.equal(await keysIn(service), 0);
    const maps = await service.names("/api/v1", "configmaps");
    assert.deepEqual(maps, ["kube-root-ca.crt"]);
  });
});
