import assert from "node:assert/strict";
import { createVerify, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { accessToken } from "../../../provider/gcp/credentials";

describe("the account that machines are listed by", () => {
  let folder: string;
  let server: Server;
  let host: string;
  let asked: Array<{ path: string; form: URLSearchParams; headers: IncomingHttpHeaders }>;
  let answer: [status: number, body: object];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-credentials-"));
    server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      asked.push({ path: request.url ?? "", form, headers: request.headers });
      response.writeHead(answer[0]).end(JSON.stringify(answer[1]));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });
  beforeEach(() => {
    asked = [];
    answer = [200, { access_token: "fresh", expires_in: 3600 }];
  });

  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const serviceAccount = (email: string) => ({
    type: "service_account",
    client_email: email,
    private_key: key,
    token_uri: `http://${host}/token`,
  });
  /** Without the account of whoever runs the tests. */
  const environment = (given: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ CLOUDSDK_CONFIG: folder, ...given });

  it("is that of a token in the environment first", async () => {
    assert.equal(await accessToken(environment({ GOOGLE_OAUTH_ACCESS_TOKEN: "given" })), "given");
    assert.deepEqual(asked, []);
  });

  it("is a service account, by an assertion signed with its key, asked for once while the token lasts", async () => {
    const file = join(folder, "account.json");
    writeFileSync(file, JSON.stringify(serviceAccount("one@example.com")), { mode: 0o600 });
    const given = environment({ GOOGLE_APPLICATION_CREDENTIALS: file });
    assert.deepEqual([await accessToken(given), await accessToken(given)], ["fresh", "fresh"]);
    assert.equal(asked.length, 1);
    const [header = "", claims = "", signature = ""] = (asked[0]?.form.get("assertion") ?? "").split(".");
    const verified = createVerify("RSA-SHA256").update(`${header}.${claims}`).verify(publicKey, signature, "base64url");
    assert.ok(verified);
    const read = JSON.parse(Buffer.from(claims, "base64url").toString());
    assert.deepEqual([read.iss, read.aud], ["one@example.com", `http://${host}/token`]);
    assert.ok(read.exp - read.iat <= 3600);
  });

  it("is asked for anew when its token is about to end", async () => {
    answer = [200, { access_token: "short", expires_in: 30 }];
    const given = environment({ GOOGLE_CREDENTIALS: JSON.stringify(serviceAccount("two@example.com")) });
    await accessToken(given);
    await accessToken(given);
    assert.equal(asked.length, 2);
  });

  it("is a user who logged in", async () => {
    const user = {
      type: "authorized_user",
      client_id: "id",
      client_secret: "s",
      refresh_token: "r",
      token_uri: `http://${host}/token`,
    };
    writeFileSync(join(folder, "application_default_credentials.json"), JSON.stringify(user), { mode: 0o600 });
    assert.equal(await accessToken(environment({})), "fresh");
    assert.equal(asked[0]?.form.get("refresh_token"), "r");
    rmSync(join(folder, "application_default_credentials.json"));
  });

  it("is the machine's own where there is no other", async () => {
    assert.equal(await accessToken(environment({ GCE_METADATA_HOST: host })), "fresh");
    assert.equal(asked[0]?.path, "/computeMetadata/v1/instance/service-accounts/default/token");
    assert.equal(asked[0]?.headers["metadata-flavor"], "Google");
  });

  it("is refused in Google's words with the way to log in, and never with a secret", async () => {
    answer = [400, { error: "invalid_grant", error_description: "Token has been revoked." }];
    const refused = await accessToken(
      environment({ GOOGLE_CREDENTIALS: JSON.stringify(serviceAccount("three@example.com")) }),
    ).catch((error: Error) => error.message);
    assert.match(refused, /\(400\): Token has been revoked\. Log in with `gcloud auth application-default login`/);
    for (const text of [
      `{"private_key": "${"x".repeat(20)}`,
      JSON.stringify({ type: "external_account", secret: "x".repeat(20) }),
    ]) {
      const message = await accessToken(environment({ GOOGLE_CREDENTIALS: text })).catch(
        (error: Error) => error.message,
      );
      assert.match(message, /print-access-token/);
      assert.ok(!message.includes("xxxx"));
    }
  });
});
