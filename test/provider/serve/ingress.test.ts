import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { deleteApplications, getApplications, putApplications } from "../../../provider/serve/dashboard";
import { type TestRay, testRay } from "./rayForTests";

describe("Serve's proxy with a query token", function () {
  this.timeout(120_000);
  let ray: TestRay;
  let url: string;

  /** The status, and the body of a good answer. */
  const ask = async (headers: Record<string, string>, path = "/") => {
    const answer = await fetch(url + path, { headers });
    return answer.status === 200 ? answer.text() : answer.status;
  };
  const bearer = (token: string) => ask({ authorization: `Bearer ${token}` });
  const giveTokens = (...tokens: string[]) => {
    writeFileSync(`${ray.queryTokensFile}.new`, tokens.join("\n"), { mode: 0o600 });
    renameSync(`${ray.queryTokensFile}.new`, ray.queryTokensFile);
  };

  before(async () => {
    ray = await testRay();
    const config = ray.config({ name: "a", import_path: "sample:headers" });
    url = `http://127.0.0.1:${(config.http_options as { port: number }).port}`;
    await putApplications(ray, { ...config, target_capacity: null });
    const runs = async () => (await getApplications(ray)).applications.a?.status === "RUNNING";
    while (!(await runs())) await sleep(200);
  });
  after(async () => {
    giveTokens(ray.queryToken);
    await deleteApplications(ray);
  });

  it("answers nobody without it, or with another", async () => {
    assert.equal(await ask({}), 401);
    for (const token of ["", "wrong", ray.queryToken.toUpperCase(), `${ray.queryToken}x`, ray.queryToken.slice(1)]) {
      assert.equal(await bearer(token), 401, token);
    }
    assert.equal(await ask({ authorization: ray.queryToken }), 401, "without its scheme");
    assert.equal(await ask({}, "/-/routes"), 401, "the names of the applications");
  });

  it("takes it off a request before a replica sees it", async () => {
    assert.doesNotMatch(String(await bearer(ray.queryToken)), /authorization/);
    assert.match(String(await bearer(ray.queryToken)), /user-agent/);
  });

  it("refuses a role in the version header that is right but for its case", async () => {
    const authorization = `Bearer ${ray.queryToken}`;
    const by = (version: string) => ask({ authorization, "x-anyscale-version": version });
    for (const version of ["Canary", "PRIMARY"]) assert.equal(await by(version), 400);
    for (const version of ["canary", "primary", "v7"]) assert.equal(typeof (await by(version)), "string");
  });

  it("tells load balancers its health without one", async () => {
    assert.equal(await ask({}, "/-/healthz"), "success");
  });

  it("opens no socket without it", async () => {
    const status = await new Promise((resolve, reject) => {
      const headers = {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": Buffer.alloc(16).toString("base64"),
      };
      const request = get(url, { headers, agent: false });
      request.on("upgrade", (_, socket) => resolve(socket.destroy() && "upgraded"));
      request.on("response", (answer) => resolve(answer.resume().statusCode));
      request.on("error", reject);
    });
    assert.equal(status, 403);
  });

  it("takes the old and the new one while both are given, and then the new one only", async () => {
    giveTokens(ray.queryToken, "second");
    assert.deepEqual([typeof (await bearer(ray.queryToken)), typeof (await bearer("second"))], ["string", "string"]);
    giveTokens("second");
    assert.deepEqual([await bearer(ray.queryToken), typeof (await bearer("second"))], [401, "string"]);
  });
});
