import { type CheckFailure, type OperationContext, PartialFailure, type ResourceType } from "../resource";
import { checkWeights } from "../serve/weights";
import { readServers } from "./haproxyAdmin";
import { haproxyFiles, PINNED, TRAFFIC, tokenDigest } from "./haproxyConfig";
import {
  choosePort,
  isServing,
  lastPort,
  removeFiles,
  requireFreePort,
  runningHaproxy,
  startHaproxy,
  stopHaproxy,
  writeFiles,
} from "./haproxyProcess";
import { withLock } from "./lock";
import { removeUnwanted, waitForHealth } from "./servers";
import { type AssertReady, type Backend, type Live, type Patience, readLive, requireReady, shift } from "./shift";

export interface LoadBalancerInputs {
  /** Short absolute path, created 0700: configuration, admin socket, pattern files. Removed on delete. */
  directory: string;
  /** Absolute path of the HAProxy binary; another one is used from the next start of the process on. */
  haproxy: string;
  /** On 127.0.0.1; absent: a free one is chosen and kept. */
  port?: number;
  /** Secret; absent: no token is asked for. */
  queryAuthToken?: string;
  /** All versions that take part; the weights, in percent, sum to 100. */
  backends: Backend[];
  /** Versions. */
  primary: string;
  canary?: string;
  /** Longest wait for the requests of a backend that is removed. */
  drainTimeoutSeconds: number;
  /** For this update only: nobody asks whether a cluster is ready for its traffic, because it cannot be worse off. */
  immediate?: boolean;
}

export interface LoadBalancerState extends LoadBalancerInputs {
  url: string;
  port: number;
  adminSocket: string;
  pid: number;
}

const PATIENCE: Patience = { healthMs: 30_000, readBackMs: 2000 };
/** HAProxy takes socket paths of up to 97 characters. */
const LONGEST_DIRECTORY = 97 - "/admin.sock".length;
/** Stands in the state for a token that is not the stack's: only its digest can be seen, and the next update replaces it. */
const FOREIGN_TOKEN = "(not the token of this stack)";

/** The resource type; `assertReady` is asked before a backend's traffic rises. */
export function loadBalancerType(
  assertReady: AssertReady,
  patience: Patience = PATIENCE,
): ResourceType<LoadBalancerInputs, LoadBalancerState> {
  const proofFor = ({ immediate }: LoadBalancerInputs): AssertReady =>
    immediate === true ? async () => undefined : assertReady;

  /** Starts the process: nothing runs yet, so there is nothing to shift or to drain. */
  const launch = async (inputs: LoadBalancerInputs, port: number, context: OperationContext) => {
    await requireFreePort(port);
    const limits: Record<string, number | undefined> = {};
    for (const backend of inputs.backends) {
      if (backend.weight > 0) limits[backend.version] = await requireReady(backend, context, proofFor(inputs));
    }
    context.signal.throwIfAborted();
    await startHaproxy(inputs.haproxy, inputs.directory, {
      ...inputs,
      backends: limited(inputs.backends, limits),
      port,
    });
    try {
      const { adminSocket } = haproxyFiles(inputs.directory);
      await waitForHealth(adminSocket, await readServers(adminSocket), context, patience.healthMs);
    } catch (error) {
      await stopHaproxy(inputs.directory, 0, context.signal);
      throw error;
    }
    return stateOf(inputs, port);
  };

  /** Changes the running process. On failure the stack is given what really is, unless that is as it was. */
  const change = async (id: string, inputs: LoadBalancerInputs, port: number, context: OperationContext) => {
    const { directory } = inputs;
    const { adminSocket } = haproxyFiles(directory);
    const before = await readLive(directory);
    try {
      await shift(directory, inputs, context, proofFor(inputs), patience);
      const servers = await readServers(adminSocket);
      const limits = Object.fromEntries(servers.map(({ version, limit }) => [version, limit]));
      writeFiles(directory, { ...inputs, backends: limited(inputs.backends, limits), port });
      const versions = inputs.backends.map(({ version }) => version);
      await removeUnwanted(adminSocket, versions, inputs.drainTimeoutSeconds, context);
      return stateOf(inputs, port);
    } catch (error) {
      const reason: unknown = context.signal.aborted ? context.signal.reason : error;
      const after = await readLive(directory).catch(() => undefined);
      if (after !== undefined && fingerprint(after) === fingerprint(before)) throw reason;
      const message = reason instanceof Error ? reason.message : String(reason);
      throw new PartialFailure(message, id, observed(stateOf(inputs, port), after ?? before));
    }
  };

  return {
    secrets: ["queryAuthToken"],
    check,
    diff(state, inputs) {
      const replaces = [
        ...(state.directory === inputs.directory ? [] : ["directory"]),
        ...(inputs.port === undefined || inputs.port === state.port ? [] : ["port"]),
      ];
      const changes = replaces.length > 0 || comparable(state) !== comparable(inputs);
      return { changes, replaces };
    },

    create(inputs, context) {
      const { directory } = inputs;
      return withLock(
        directory,
        `the creation of ${context.name}`,
        async () => {
          const known = lastPort(directory);
          const usable = known !== undefined && (inputs.port === undefined || inputs.port === known);
          if (usable && (await isServing(directory))) {
            return { id: directory, state: await change(directory, inputs, known, context) };
          }
          await stopHaproxy(directory, inputs.drainTimeoutSeconds, context.signal);
          const port = inputs.port ?? known ?? (await choosePort(directory));
          try {
            return { id: directory, state: await launch(inputs, port, context) };
          } catch (error) {
            // What was there before stays: it holds the port of the service's URL.
            if (known === undefined) removeFiles(directory);
            throw error;
          }
        },
        context.signal,
      );
    },

    async read(_id, state) {
      if (!(await isServing(state.directory))) return undefined;
      return observed(stateOf(state, state.port), await readLive(state.directory));
    },

    update(id, state, inputs, context) {
      return withLock(
        inputs.directory,
        `an update of ${context.name}`,
        async () => {
          if (await isServing(inputs.directory)) return change(id, inputs, state.port, context);
          context.progress("HAProxy does not run: starting it again");
          await stopHaproxy(inputs.directory, inputs.drainTimeoutSeconds, context.signal);
          return launch(inputs, state.port, context);
        },
        context.signal,
      );
    },

    delete(_id, { directory, drainTimeoutSeconds }, context) {
      return withLock(
        directory,
        `the deletion of ${context.name}`,
        async () => {
          await stopHaproxy(directory, drainTimeoutSeconds, context.signal);
          const others = removeFiles(directory);
          if (others.length > 0) context.warn(`${directory} was left: it also holds ${others.join(", ")}`);
        },
        context.signal,
      );
    },
  };
}

function check(inputs: Partial<LoadBalancerInputs>): CheckFailure[] {
  const failures: CheckFailure[] = [];
  const require = (property: string, valid: boolean, reason: string) => {
    if (!valid) failures.push({ property, reason });
  };
  const { directory, haproxy, port, queryAuthToken, backends, primary, canary, drainTimeoutSeconds } = inputs;
  if (directory !== undefined) {
    const length = Buffer.byteLength(directory);
    const short = length <= LONGEST_DIRECTORY;
    require("directory", short, `is ${length} bytes long, at most ${LONGEST_DIRECTORY} fit: choose a shorter path`);
    const plain = /^(\/[\w.@+=-]+)+$/.test(directory);
    require("directory", plain, `"${directory}" must be an absolute path of letters, digits and _ . @ + = -`);
  }
  if (haproxy !== undefined) {
    require("haproxy", haproxy.startsWith("/"), `"${haproxy}" must be the absolute path of the HAProxy binary`);
  }
  if (port !== undefined) {
    const valid = Number.isInteger(port) && port >= 1 && port <= 65_535;
    require("port", valid, `${port} must be a whole number from 1 to 65535; leave it out and a free one is chosen`);
  }
  if (queryAuthToken !== undefined) {
    const valid = /^[\w.~+/-]+=*$/.test(queryAuthToken);
    require("queryAuthToken", valid, "must be of letters, digits and - . _ ~ + /: nothing else fits into a Bearer header");
  }
  if (drainTimeoutSeconds !== undefined) {
    require("drainTimeoutSeconds", drainTimeoutSeconds >= 0, `${drainTimeoutSeconds} must be 0 or more`);
  }
  if (backends !== undefined) {
    failures.push(...checkBackends(backends));
    const versions = backends.map(({ version }) => version);
    // A version that the preview does not know yet may be the one that is asked for.
    const missing = (version: string | undefined) =>
      version !== undefined && !versions.includes(version) && versions.every((known) => known !== undefined);
    require("primary", !missing(primary), `version ${primary} is not among the backends: ${versions.join(", ")}`);
    require("canary", !missing(canary), `version ${canary} is not among the backends: ${versions.join(", ")}`);
  }
  const distinct = primary === undefined || primary !== canary;
  require("canary", distinct, `version ${canary} is the primary too: a version has one role`);
  return failures;
}

function checkBackends(backends: readonly Partial<Backend>[]): CheckFailure[] {
  const failures: CheckFailure[] = [];
  for (const [index, { version, address }] of backends.entries()) {
    const at = (name: string) => `backends[${index}].${name}`;
    if (version !== undefined && !/^[\w.-]+$/.test(version)) {
      failures.push({ property: at("version"), reason: `"${version}" must be of letters, digits and _ . -` });
    }
    if (version !== undefined && backends.findIndex((other) => other.version === version) < index) {
      failures.push({ property: at("version"), reason: `${version} is there twice: give each version one backend` });
    }
    if (address !== undefined && !/^\d+\.\d+\.\d+\.\d+:\d+$/.test(address)) {
      failures.push({ property: at("address"), reason: `"${address}" must be an IPv4 address and a port, host:port` });
    }
  }
  return [...failures, ...checkWeights(backends)];
}

function stateOf(inputs: LoadBalancerInputs, port: number): LoadBalancerState {
  const running = runningHaproxy(inputs.directory);
  if (running === undefined) throw new Error(`HAProxy in ${inputs.directory} ended by itself`);
  const { adminSocket } = haproxyFiles(inputs.directory);
  const { immediate: _, ...lasting } = inputs;
  return { ...lasting, url: `http://127.0.0.1:${port}`, port, adminSocket, pid: running.pid };
}

/** The state with what HAProxy really does in place of what it was told. */
function observed(state: LoadBalancerState, live: Live): LoadBalancerState {
  const { queryAuthToken, canary: _, ...rest } = state;
  const role = (name: string) => live.roles.find((entry) => entry.startsWith(`${name} `))?.slice(name.length + 1);
  const canary = role("canary");
  const open = live.access.includes("open");
  const own = queryAuthToken !== undefined && live.tokens.join() === tokenDigest(queryAuthToken);
  return {
    ...rest,
    backends: observedBackends(state.backends, live),
    primary: role("primary") ?? "",
    ...(canary === undefined ? {} : { canary }),
    ...(open ? {} : { queryAuthToken: own ? queryAuthToken : FOREIGN_TOKEN }),
  };
}

/** A version whose header route does not work as it should has the address "": the next update then repairs it. */
function observedBackends(known: readonly Backend[], { servers }: Live): Backend[] {
  const versions = [...new Set(servers.map(({ version }) => version))];
  return versions.map((version) => {
    const [traffic, pinned] = [TRAFFIC, PINNED].map((proxy) =>
      servers.find((server) => server.proxy === proxy && server.version === version),
    );
    const routed = pinned?.status !== "suspended" && pinned?.weight === 0 && pinned.address === traffic?.address;
    const dashboard = known.find((backend) => backend.version === version) ?? { dashboardUrl: "" };
    return { ...dashboard, version, address: routed ? pinned.address : "", weight: traffic?.weight ?? 0 };
  });
}

function limited(backends: readonly Backend[], limits: Record<string, number | undefined>) {
  return backends.map((backend) => ({ ...backend, limit: limits[backend.version] ?? 0 }));
}

/** What tells whether an attempt changed anything. */
function fingerprint({ servers, roles, access, tokens }: Live): string {
  const rows = servers.map(({ proxy, version, address, weight, status }) => {
    return [proxy, version, address, weight, status === "suspended"].join(" ");
  });
  return JSON.stringify([rows.sort(), [...roles].sort(), access, tokens]);
}

/** The inputs in a form in which only differences that matter differ. */
function comparable(inputs: LoadBalancerInputs): string {
  const backends = inputs.backends
    .map(({ version, address, weight, dashboardUrl, dashboardTokenFile = null }) => {
      return [version, address, weight, dashboardUrl, dashboardTokenFile];
    })
    .sort(([left], [right]) => (String(left) < String(right) ? -1 : 1));
  const { haproxy, queryAuthToken = null, primary, canary = null, drainTimeoutSeconds } = inputs;
  return JSON.stringify([haproxy, queryAuthToken, backends, primary, canary, drainTimeoutSeconds]);
}
