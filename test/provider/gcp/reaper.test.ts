import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { countWorkerInstances } from "../../../provider/gcp/instances";
import { type ReaperInputs, reaper } from "../../../provider/gcp/reaper";
import type { OperationContext } from "../../../provider/resource";
import { FakeCompute } from "./computeForTests";

const place = { project: "my-project", zone: "us-central1-a", clusterName: "models-v1" };
const inputs = (timeoutSeconds = 30): ReaperInputs => ({ ...place, timeoutSeconds });

describe("the machines of a cluster on Google Cloud", function () {
  this.timeout(30_000);
  let fake: FakeCompute;
  const own = { ...process.env };
  const progress: string[] = [];
  const context = (signal = new AbortController().signal): OperationContext => ({
    urn: "urn",
    name: "reaper-v1",
    signal,
    progress: (message) => void progress.push(message),
    warn: () => {},
  });

  beforeEach(async () => {
    fake = await FakeCompute.start("token");
    Object.assign(process.env, { GOOGLE_COMPUTE_CUSTOM_ENDPOINT: fake.endpoint, GOOGLE_OAUTH_ACCESS_TOKEN: "token" });
    fake.add("models-v1-head-compute", "models-v1", "head");
    for (const worker of ["a", "b", "c"]) fake.add(`ray-models-v1-worker-${worker}-compute`, "models-v1", "worker");
    fake.add("ray-models-v2-worker-a-compute", "models-v2", "worker");
  });
  afterEach(async () => {
    await fake.stop();
    for (const name of ["GOOGLE_COMPUTE_CUSTOM_ENDPOINT", "GOOGLE_OAUTH_ACCESS_TOKEN"]) {
      if (own[name] === undefined) delete process.env[name];
      else process.env[name] = own[name];
    }
  });

  it("are counted over all pages, the workers of that cluster only, stopped ones too", async () => {
    assert.equal(await countWorkerInstances(place), 3);
    fake.add("ray-models-v1-worker-d-compute", "models-v1", "worker", "TERMINATED");
    assert.equal(await countWorkerInstances(place), 4);
    assert.equal(await countWorkerInstances({ ...place, clusterName: "none" }), 0);
  });

  it("are all deleted by its reaper, also one that the head had asked for at its end, and no other cluster's", async () => {
    const reaped = reaper.delete("models-v1", inputs(), context());
    await sleep(3000);
    fake.add("ray-models-v1-worker-late-compute", "models-v1", "worker", "PROVISIONING");
    await reaped;
    assert.deepEqual([...fake.machines.keys()], ["ray-models-v2-worker-a-compute"]);
    const deletions = fake.requests.filter((request) => request.startsWith("DELETE"));
    assert.equal(deletions.length, 5, deletions.join());
  });

  it("are named, with the command that shows them, when they do not go in time", async () => {
    fake.stuck.add("ray-models-v1-worker-b-compute");
    await assert.rejects(
      reaper.delete("models-v1", inputs(1), context()),
      /ray-models-v1-worker-b-compute \(RUNNING\).*still there after 1 s\..*gcloud compute instances list --project my-project/,
    );
  });

  it("stay when the update is cancelled", async () => {
    const ended = new AbortController();
    ended.abort(new Error("the update was cancelled"));
    await assert.rejects(reaper.delete("models-v1", inputs(), context(ended.signal)), /cancelled/);
    assert.equal(fake.machines.size, 5);
  });

  it("are left alone, with Google's own words, where the account is refused", async () => {
    process.env.GOOGLE_OAUTH_ACCESS_TOKEN = "another";
    await assert.rejects(reaper.delete("models-v1", inputs(), context()), /\(401\): Invalid Credentials/);
    assert.equal(fake.machines.size, 5);
  });

  it("cannot be those of every cluster", () => {
    assert.match(reaper.check({ clusterName: "" })[0]?.reason ?? "", /must be the cluster's name/);
    assert.deepEqual(reaper.diff(inputs(), { ...inputs(), clusterName: "models-v2" }).replaces, ["clusterName"]);
  });
});
