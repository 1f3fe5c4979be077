import type { ServeConfig } from "../provider/serve/config";
import type { ServiceSpec } from "./serviceSpec";

/**
 * For which Serve's proxy keeps an idle connection, seconds: longer than any load balancer keeps its side of it (Envoy an hour,
 * Google's 10 minutes, an ALB one). Whoever closes first must not be the one that requests come to, or one that is on its
 * way at that moment is lost. Ray's own is 90, and before 2.49 it was 5.
 */
const KEEP_ALIVE_SECONDS = 3700;

/**
 * The Serve configuration of a version, in Ray's own schema and without `target_capacity`. What the spec says for the
 * whole service (`env_vars`, `requirements`, `working_dir`, `py_modules`) goes into the runtime environment of every
 * application, where an application's own value wins.
 *
 * @param listen `HOST:PORT` of Serve's HTTP proxy, and on which nodes there is one; absent: the head's
 * @param workingDirectory URI of the packaged working directory
 */
export function serveConfig(
  spec: ServiceSpec,
  listen: { serveAddress: string; grpcPort: number; proxyLocation?: "HeadOnly" | "EveryNode" },
  workingDirectory: string | undefined,
): ServeConfig {
  const { host, port } = splitAddress(listen.serveAddress);
  const shared = withoutUndefined({
    working_dir: workingDirectory,
    pip: spec.requirements,
    py_modules: spec.py_modules,
  });
  return withoutUndefined({
    proxy_location: listen.proxyLocation ?? "HeadOnly",
    http_options: { keep_alive_timeout_s: KEEP_ALIVE_SECONDS, ...spec.http_options, host, port },
    grpc_options: { ...spec.grpc_options, port: listen.grpcPort },
    logging_config: spec.logging_config,
    applications: spec.applications.map((application) => {
      const own = application.runtime_env ?? {};
      const environment = { ...spec.env_vars, ...(own.env_vars as Record<string, string> | undefined) };
      const runtimeEnvironment = {
        ...shared,
        ...own,
        ...(Object.keys(environment).length > 0 ? { env_vars: environment } : {}),
      };
      return {
        ...application,
        ...(Object.keys(runtimeEnvironment).length > 0 ? { runtime_env: runtimeEnvironment } : {}),
      };
    }),
  }) as unknown as ServeConfig;
}

function splitAddress(address: string): { host: string; port: number } {
  const separator = address.lastIndexOf(":");
  return { host: address.slice(0, separator), port: Number(address.slice(separator + 1)) };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as T;
}
