import assert from "node:assert/strict";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type ClusterInputs, cloudCluster } from "../../../provider/cloud/cluster";
import { markerPath, markerText, NoMarker, readMarkerWeights, weightsIn } from "../../../provider/cloud/marker";
import { type Backend, readiness } from "../../../provider/cloud/readiness";
import { routed } from "../../../provider/cloud/routed";
import { FakeCloudHead, listen } from "../../fake/cloud/head";

const HOST = "127.66.1.1";
const TOKEN = "token of Ray";
const GROUP = { name: "gpu", resources: { CPU: 1, GPU: 1 }, minNodes: 0, maxNodes: 4 };

describe("the gates of a cloud's load balancer", function () {
  this.timeout(20_000);
  let front: Server;
  let head: FakeCloudHead;
  /** What the load balancer answers at the marker's path, and at a version's own. */
  let marker: { status: number; text: string };
  let reaches: boolean;
  const context = { urn: "", name: "gate", signal: new AbortController().signal, progress() {}, warn() {} };
  const address = () => ({
    url: `http://127.0.0.1:${(front.address() as AddressInfo).port}${markerPath}`,
    queryAuthToken: "query",
  });
  const backend = (weight: number): Backend => ({
    dashboardUrl: `http://${HOST}:8265`,
    dashboardToken: TOKEN,
    version: "v2",
    role: "canary",
    weight,
  });
  const backends = (weight: number) => [
    { ...backend(100 - weight), version: "v1", role: "primary" as const },
    backend(weight),
  ];

  beforeEach(async () => {
    marker = {
      status: 200,
      text: markerText([
        { version: "v1", weight: 100 },
        { version: "v2", weight: 0 },
      ]),
    };
    reaches = true;
    front = await listen("127.0.0.1", 0, ({ url, headers }, response) => {
      const stranger = headers.authorization !== "Bearer query";
      const told =
        url === markerPath ? marker : { status: reaches && headers["x-anyscale-version"] ? 200 : 503, text: "" };
      response.writeHead(stranger ? 401 : told.status);
      response.end(stranger ? "" : told.text);
    });
    head = await FakeCloudHead.start(HOST, TOKEN, { head: {}, groups: [GROUP] });
  });
  afterEach(async () => {
    await head.stop();
    front.closeAllConnections();
    await new Promise((closed) => front.close(closed));
  });
  const serving = (capacity: number) =>
    head.serve.put({
      target_capacity: capacity,
      applications: [{ import_path: "versions:app", deployments: [{ name: "Versions", num_replicas: 4 }] }],
    } as never);

  it("read weights as they were written, and nothing else for weights", () => {
    assert.deepEqual(
      weightsIn(
        markerText([
          { version: "v1", weight: 60 },
          { version: "v2-2", weight: 40 },
        ]),
      ),
      { v1: 60, "v2-2": 40 },
    );
    for (const text of ["", "ok", "rayshift-weights ", "rayshift-weights v1=", "rayshift-weights v1=60;v2=40"]) {
      assert.equal(weightsIn(text), undefined, text);
    }
  });

  it("tell a load balancer without weights from one that does not answer", async () => {
    marker = { status: 401, text: "" };
    await assert.rejects(readMarkerWeights(address()), NoMarker);
    const gone = { ...address(), url: `http://127.0.0.1:1${markerPath}` };
    await assert.rejects(readMarkerWeights(gone), (error) => !(error instanceof NoMarker));
  });

  it("let no weight grow without the replicas for it", async () => {
    const inputs = { marker: address(), backends: backends(50), timeoutSeconds: 5 };
    await assert.rejects(readiness.create(inputs, context), /v2 is not ready for 50 % .*no application runs/);
  });

  it("let no weight grow where the load balancer does not reach the version, and any where it does", async () => {
    serving(100);
    await new Promise((later) => setTimeout(later, 2500));
    const inputs = { marker: address(), backends: backends(50), timeoutSeconds: 0.5 };
    reaches = false;
    await assert.rejects(readiness.create(inputs, context), /does not reach it .*127\.0\.0\.1 answers 503/);
    reaches = true;
    await readiness.create(inputs, context);
  });

  it("ask nothing where the traffic cannot be worse off", async () => {
    await readiness.create({ marker: address(), backends: backends(50), timeoutSeconds: 1, immediate: true }, context);
  });

  it("call weights in effect when the data plane does", async () => {
    const inputs = { marker: address(), backends: backends(50), timeoutSeconds: 0.5 };
    await assert.rejects(routed.create(inputs, context), /not in effect .*still goes by .*"v1":100/);
    marker.text = markerText(backends(50));
    await routed.create(inputs, context);
  });

  describe("before a cluster ends", () => {
    const cluster = (): ClusterInputs => ({
      ...backend(0),
      headId: "head",
      marker: address(),
      timeoutSeconds: 5,
      drainTimeoutSeconds: 1,
      seeHead: "aws ec2 get-console-output",
    });

    it("refuse while it gets requests, and while nobody knows", async () => {
      serving(100);
      await new Promise((later) => setTimeout(later, 2000));
      marker.text = markerText(backends(50));
      await assert.rejects(
        async () => cloudCluster.delete("", cluster(), context),
        /still sends it 50% .*was not ended/,
      );
      const silent = { ...cluster(), marker: { ...address(), url: `http://127.0.0.1:1${markerPath}` } };
      await assert.rejects(async () => cloudCluster.delete("", silent, context), /may still get requests/);
    });

    it("give requests their time, and none to a cluster that runs nothing", async () => {
      const empty = Date.now();
      await cloudCluster.delete("", cluster(), context);
      assert.ok(Date.now() - empty < 900);
      serving(100);
      await new Promise((later) => setTimeout(later, 2000));
      const began = Date.now();
      await cloudCluster.delete("", cluster(), context);
      assert.ok(Date.now() - began >= 900);
    });
  });
});
