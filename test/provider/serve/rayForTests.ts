import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ApplicationConfig, ServeConfig } from "../../../provider/serve/config";
import { type DashboardEndpoint, getApplications } from "../../../provider/serve/dashboard";
import { packageRoot } from "../../../rollout/project";
import { endMarked, markedBy } from "../../marked";

/** A plain one-node Ray with 4 logical CPUs, on which Serve was not started. */
export interface TestRay extends Required<Pick<DashboardEndpoint, "dashboardUrl" | "dashboardTokenFile">> {
  /** A directory of the tests, gone with the Ray. */
  directory: string;
  /** File of the tokens that its proxy asks for, a line each. */
  queryTokensFile: string;
  /** The one that is in it. */
  queryToken: string;
  /** A Serve config with the ports of this Ray. */
  config(...applications: ApplicationConfig[]): ServeConfig;
}

const APPS = join(packageRoot, "test/provider/serve/apps");
const INGRESS = join(packageRoot, "provider/serve/python");

let running: Promise<{ ray: TestRay; stop(): Promise<void> }> | undefined;

/** The Ray of all tests of this run: started by the first that asks, ended after the last. */
export async function testRay(): Promise<TestRay> {
  running ??= startRay();
  return (await running).ray;
}

after(async function () {
  this.timeout(30_000);
  const started = await running?.catch(() => undefined);
  await started?.stop();
});

/** A port on which nothing listens. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function startRay(): Promise<{ ray: TestRay; stop(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), "rs-"));
  const dashboardTokenFile = join(directory, "token");
  await writeFile(dashboardTokenFile, randomBytes(24).toString("hex"), { mode: 0o600 });
  const queryToken = randomBytes(24).toString("hex");
  const queryTokensFile = join(directory, "query-tokens");
  await writeFile(queryTokensFile, queryToken, { mode: 0o600 });
  const [gcs, dashboard, client, agent, http, grpc] = await Promise.all(Array.from({ length: 6 }, freePort));
  const options = {
    port: gcs,
    "dashboard-host": "127.0.0.1",
    "dashboard-port": dashboard,
    "ray-client-server-port": client,
    "dashboard-agent-listen-port": agent,
    "num-cpus": 4,
    "num-gpus": 0,
    "object-store-memory": 100_000_000,
    "temp-dir": join(directory, "r"),
  };
  const python = process.env.RAYSHIFT_PYTHON;
  if (python === undefined) throw new Error("RAYSHIFT_PYTHON has to name a Python with Ray; the set-up exports it");
  const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const head = spawn(python, ["-m", "ray.scripts.scripts", "start", "--head", "--block", ...flags], {
    stdio: "ignore",
    detached: true,
    env: {
      ...process.env,
      ...markedBy(directory),
      PYTHONPATH: `${APPS}:${INGRESS}`,
      RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH: "rayshift_ingress.middlewares",
      RAYSHIFT_QUERY_TOKENS: queryTokensFile,
      RAYSHIFT_EXACT_ROLES: "1",
      PYTHONDONTWRITEBYTECODE: "1",
      RAY_AUTH_MODE: "token",
      RAY_AUTH_TOKEN_PATH: dashboardTokenFile,
      RAY_USAGE_STATS_ENABLED: "0",
      RAY_SERVE_SLOW_STARTUP_WARNING_S: "1",
      RAY_SERVE_SLOW_STARTUP_WARNING_PERIOD_S: "1",
    },
  });
  const stop = async () => {
    await endMarked(directory, [head]);
    await rm(directory, { recursive: true, force: true });
  };
  const address = { dashboardUrl: `http://127.0.0.1:${dashboard}`, dashboardTokenFile };
  try {
    await answering(address, head);
  } catch (error) {
    await stop();
    throw error;
  }
  const config = (...applications: ApplicationConfig[]): ServeConfig => ({
    proxy_location: "HeadOnly",
    http_options: { host: "127.0.0.1", port: http as number },
    grpc_options: { port: grpc as number },
    applications,
  });
  return { ray: { ...address, directory, queryTokensFile, queryToken, config }, stop };
}

async function answering(address: DashboardEndpoint, head: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + 120_000; ; await sleep(250)) {
    try {
      await getApplications(address);
      return;
    } catch (error) {
      if (head.exitCode !== null) throw new Error(`ray start ended with ${head.exitCode}`);
      if (Date.now() > deadline) throw error;
    }
  }
}
