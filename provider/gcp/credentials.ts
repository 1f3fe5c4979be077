import { createSign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { within } from "../within";

/**
 * Access tokens of the account that Pulumi's own provider takes as well: GOOGLE_OAUTH_ACCESS_TOKEN, a file or the text of
 * application default credentials, else the machine's own account.
 */

interface ServiceAccount {
  type: "service_account";
  client_email: string;
  private_key: string;
  token_uri?: string;
}

interface User {
  type: "authorized_user";
  client_id: string;
  client_secret: string;
  refresh_token: string;
  token_uri?: string;
}

type Credentials = ServiceAccount | User | { type: "other"; name: string };

interface Token {
  value: string;
  /** ms since 1970. */
  expires: number;
}

const SCOPE = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI = "https://oauth2.googleapis.com/token";
const TIMEOUT_MS = 10_000;
/** A token is not used in its last minute. */
const SPARE_MS = 60_000;
const remedy =
  "Log in with `gcloud auth application-default login`, or set GOOGLE_OAUTH_ACCESS_TOKEN to what `gcloud auth " +
  "print-access-token` gives";

const cached = new Map<string, Token>();

/** @throws Error that names the way to log in, when there are no credentials or they are refused */
export async function accessToken(environment: NodeJS.ProcessEnv, signal?: AbortSignal): Promise<string> {
  const given = environment.GOOGLE_OAUTH_ACCESS_TOKEN;
  if (given !== undefined && given !== "") return given;
  const credentials = await credentialsIn(environment);
  const key = JSON.stringify(credentials ?? environment.GCE_METADATA_HOST ?? "");
  const known = cached.get(key);
  if (known !== undefined && known.expires - SPARE_MS > Date.now()) return known.value;
  const token = credentials === undefined ? await ofMachine(environment, signal) : await exchanged(credentials, signal);
  cached.set(key, token);
  return token.value;
}

/** Undefined where there are none, which leaves the machine's own. */
async function credentialsIn(environment: NodeJS.ProcessEnv): Promise<Credentials | undefined> {
  const inline = environment.GOOGLE_CREDENTIALS?.trim();
  if (inline?.startsWith("{")) return parsed(inline, "GOOGLE_CREDENTIALS");
  const named = inline || environment.GOOGLE_APPLICATION_CREDENTIALS;
  const config = environment.CLOUDSDK_CONFIG ?? join(environment.HOME ?? homedir(), ".config", "gcloud");
  const path = named || join(config, "application_default_credentials.json");
  try {
    return parsed(await readFile(path, "utf8"), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && !named) return undefined;
    throw error;
  }
}

function parsed(text: string, where: string): Credentials {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text);
  } catch {
    // Not the text itself: it is a secret.
    throw new Error(`the credentials in ${where} are no JSON. ${remedy}`);
  }
  if (value.type === "service_account" || value.type === "authorized_user") return value as unknown as Credentials;
  return { type: "other", name: String(value.type) };
}

async function exchanged(credentials: Credentials, signal?: AbortSignal): Promise<Token> {
  if (credentials.type === "other") {
    throw new Error(`credentials of the kind ${credentials.name} are not known to rayshift. ${remedy}`);
  }
  const uri = credentials.token_uri ?? TOKEN_URI;
  const form =
    credentials.type === "service_account"
      ? { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: assertion(credentials, uri) }
      : {
          grant_type: "refresh_token",
          client_id: credentials.client_id,
          client_secret: credentials.client_secret,
          refresh_token: credentials.refresh_token,
        };
  return asked(uri, { method: "POST", body: new URLSearchParams(form) }, signal);
}

function assertion({ client_email: issuer, private_key: key }: ServiceAccount, audience: string): string {
  const now = Math.floor(Date.now() / 1000);
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { iss: issuer, scope: SCOPE, aud: audience, iat: now, exp: now + 3600 };
  const unsigned = `${encoded({ alg: "RS256", typ: "JWT" })}.${encoded(claims)}`;
  return `${unsigned}.${createSign("RSA-SHA256").update(unsigned).sign(key, "base64url")}`;
}

function ofMachine(environment: NodeJS.ProcessEnv, signal?: AbortSignal): Promise<Token> {
  const host = environment.GCE_METADATA_HOST ?? "metadata.google.internal";
  const uri = `http://${host}/computeMetadata/v1/instance/service-accounts/default/token`;
  return asked(uri, { headers: { "metadata-flavor": "Google" } }, signal);
}

async function asked(uri: string, request: RequestInit, signal?: AbortSignal): Promise<Token> {
  let response: Response;
  try {
    response = await fetch(uri, {
      ...request,
      signal: within(TIMEOUT_MS, signal),
    });
  } catch (error) {
    signal?.throwIfAborted();
    const { cause, message } = error as Error & { cause?: Error };
    throw new Error(`no access token from ${new URL(uri).host}: ${cause?.message ?? message}. ${remedy}`);
  }
  const answer = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  if (!response.ok || typeof answer.access_token !== "string") {
    const said = answer.error_description ?? answer.error ?? "no token in the answer";
    const words = String(said).replace(/\.$/, "");
    throw new Error(`no access token from ${new URL(uri).host} (${response.status}): ${words}. ${remedy}`);
  }
  return { value: answer.access_token, expires: Date.now() + Number(answer.expires_in ?? 0) * 1000 };
}
