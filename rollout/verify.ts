import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { dirname, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isLocalPath } from "../components/specParts";
import { type CommandResult, type DeployOptions, deploy } from "./deploy";
import { Refused, UpdateFailed } from "./errors";
import { rollback } from "./rollback";
import { openSession, type SessionOptions } from "./session";
import { readServiceFile } from "./source";
import type { StackOutputs } from "./stack";
import { status } from "./status";
import { terminate } from "./terminate";

export interface VerifyOptions extends SessionOptions {
  /** Service YAML: the smallest that the target can run. */
  file: string;
  onStep?: ((step: VerifiedStep) => void) | undefined;
}

export interface VerifiedStep {
  step: string;
  ok: boolean;
  seconds: number;
  /** What was seen; why, where it is not ok. */
  detail: string;
}

/** What the steps do to the world; a test gives others. */
export interface VerifyCommands {
  deploy(options: DeployOptions): Promise<CommandResult>;
  rollback(options: SessionOptions): Promise<CommandResult>;
  terminate(options: SessionOptions): Promise<{ outcome: string }>;
  outputs(options: SessionOptions): Promise<StackOutputs | undefined>;
  /** `X-ANYSCALE-VERSION` of the request as `role`; resolves with the HTTP status. */
  ask(url: string, token: string | undefined, role: string | undefined, signal?: AbortSignal): Promise<number>;
  /** Percent of the requests that the canary gets, by the load balancer itself. */
  canaryTraffic(options: SessionOptions): Promise<number | null>;
}

/** Of the canary in a hold. */
const HALF = 50;
const ROUTES_WITHIN_MS = 15_000;
const ROUTES_POLL_MS = 250;

const real: VerifyCommands = {
  deploy,
  rollback,
  terminate,
  outputs: async (options) => (await openSession(options)).stack.outputs(options.signal),
  ask,
  canaryTraffic: async (options) => (await status(options)).canary?.traffic ?? null,
};

/**
 * Tries a target out with a service of its user: a first deploy, a hold at half of the traffic, its completion, a
 * rollback, the end. Ends what it made whatever happens.
 *
 * @returns all steps, which were all ok
 * @throws Refused when the stack runs something, and nothing was changed
 * @throws UpdateFailed with the step that was not ok
 */
export async function verify(options: VerifyOptions, commands: VerifyCommands = real): Promise<VerifiedStep[]> {
  const { file, onStep, ...session } = options;
  if ((await commands.outputs(session)) !== undefined) {
    throw new Refused(
      "this stack is there already, and verify ends what it tried out. Give a stack of its own with `-s STACK`, with the " +
        "target's settings in its Pulumi.<stack>.yaml. Nothing was changed.",
    );
  }
  const versions = versionsOf(file);
  const steps: VerifiedStep[] = [];
  const step = async (name: string, run: () => Promise<string>) => {
    const began = Date.now();
    const done = (ok: boolean, detail: string) => {
      const result = { step: name, ok, seconds: (Date.now() - began) / 1000, detail };
      steps.push(result);
      onStep?.(result);
    };
    try {
      done(true, await run());
    } catch (error) {
      done(false, (error as Error).message);
      throw new UpdateFailed(`verify: ${name}: ${(error as Error).message}`);
    }
  };
  const deployed = (version: string, wanted: string, canaryPercent?: number) => async () => {
    const result = await commands.deploy({ ...session, service: versions(version), canaryPercent });
    return expected(result.outcome, wanted, result.url);
  };
  try {
    await step("first deploy", deployed("verify-1", "deployed"));
    await step("requests", () => requests(commands, session, [undefined, "primary"]));
    await step(`rollout, held at ${HALF}%`, deployed("verify-2", "held", HALF));
    await step("weights", async () => {
      const percent = await commands.canaryTraffic(session);
      return expected(String(percent), String(HALF), "percent by the load balancer itself");
    });
    await step("requests by role", () => requests(commands, session, [undefined, "primary", "canary"]));
    await step("completion", deployed("verify-2", "completed", 100));
    await step(`another rollout, held at ${HALF}%`, deployed("verify-3", "held", HALF));
    await step("rollback", async () => expected((await commands.rollback(session)).outcome, "rolledBack", ""));
    await step("requests after it", () => requests(commands, session, [undefined, "primary"]));
  } finally {
    await step("the end", async () => expected((await commands.terminate(session)).outcome, "terminated", ""));
  }
  return steps;
}

function expected(outcome: string, wanted: string, detail: string): string {
  if (outcome !== wanted) throw new Error(`it ended with ${outcome}, and ${wanted} was expected`);
  return detail === "" ? outcome : `${outcome}: ${detail}`;
}

/** Versions of a service that differ in a variable of their environment only. */
function versionsOf(file: string): (version: string) => Record<string, unknown> {
  const folder = dirname(resolve(file));
  const { spec, written } = readServiceFile(file, folder);
  const { working_dir: code } = spec;
  return (version) => ({
    ...written,
    version_name: version,
    env_vars: { ...spec.env_vars, RAYSHIFT_VERIFY: version },
    ...(code !== undefined && isLocalPath(code) ? { working_dir: resolve(folder, code) } : {}),
  });
}

/** With the token each role answers, and without it nobody. */
async function requests(
  { ask: send, outputs }: VerifyCommands,
  session: SessionOptions,
  roles: ReadonlyArray<string | undefined>,
): Promise<string> {
  const { url = "", queryAuthToken: token } = (await outputs(session)) ?? {};
  const seen: string[] = [];
  for (const role of roles) {
    const code = await settled(
      () => send(url, token, role, session.signal),
      (each) => each < 500 && each !== 401,
    );
    if (code >= 500 || code === 401) throw new Error(`a request to ${role ?? "the service"} gets ${code}`);
    seen.push(`${role ?? "any version"} ${code}`);
  }
  if (token !== undefined) {
    const code = await send(url, undefined, undefined, session.signal);
    if (code !== 401 && code !== 403) throw new Error(`a request without the token gets ${code}, not 401`);
    seen.push(`without the token ${code}`);
  }
  return seen.join(", ");
}

/** A new route may take a moment until it is everywhere. */
async function settled(look: () => Promise<number>, good: (code: number) => boolean): Promise<number> {
  for (const end = Date.now() + ROUTES_WITHIN_MS; ; await sleep(ROUTES_POLL_MS)) {
    const code = await look();
    if (good(code) || Date.now() >= end) return code;
  }
}

/** A GET of the service's root; which answer it has there is the user's business. */
function ask(url: string, token: string | undefined, role: string | undefined, signal?: AbortSignal): Promise<number> {
  const target = new URL("/", url);
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(role === undefined ? {} : { "X-ANYSCALE-VERSION": role }),
  };
  return new Promise((done, failed) => {
    const request = target.protocol === "https:" ? requestHttps : requestHttp;
    const sent = request(target, { headers, agent: false, ...(signal === undefined ? {} : { signal }) }, (response) => {
      response.resume();
      response.on("end", () => done(response.statusCode ?? 0));
    });
    sent.on("error", failed);
    sent.end();
  });
}
