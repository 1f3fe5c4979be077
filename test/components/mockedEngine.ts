import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import type { RegisterResourceRequest } from "@pulumi/pulumi/proto/resource_pb";
import * as state from "@pulumi/pulumi/runtime/state";
import { providerFor } from "../../provider/server";
import { token } from "../../provider/token";
import { resourceTypes } from "../../provider/types";
import { secretKeys, unwrap } from "../../provider/wire";

/** What the SDK has, but not in its types. */
const internals = { ...state, ...pulumi.runtime } as unknown as {
  getStore(): { settings: { options: { rootDirectory?: string } } };
  waitForRPCs(): Promise<void>;
};

/** One resource as the engine would be asked for it. */
export interface Registered {
  type: string;
  name: string;
  /** Plain values; {@link secrets} names those that came encrypted. */
  inputs: Record<string, unknown>;
  secrets: string[];
  /** Names of the resources that have to be done before this one, by options and by inputs. */
  dependencies: string[];
  parent: string;
  deletedWith: string;
  secretOutputs: string[];
}

interface CloudMade {
  id: string;
  outputs: Record<string, unknown>;
}

export interface MockedStack {
  project?: string;
  stack?: string;
  /** Of the stack's last update. */
  outputs?: Record<string, unknown>;
  secretOutputNames?: string[];
  /** By full key: `rayshift:service`. */
  config?: Record<string, string>;
  secretConfig?: string[];
  /** What a cloud would make up for a resource, beside its inputs. */
  learned?: (type: string, name: string, inputs: Record<string, unknown>) => CloudMade | undefined;
  /** Folder of Pulumi.yaml. */
  folder?: string;
}

/**
 * Declares resources against Pulumi's mocks, which do what the provider would: a token comes from the real one.
 * Resolves when everything is registered.
 */
export async function registering<T>(
  stack: MockedStack,
  declare: () => T | Promise<T>,
): Promise<{ result: T; resources: Registered[] }> {
  const { project = "rayshift", outputs = {}, secretOutputNames = [] } = stack;
  const provider = providerFor({ "rayserve:index:Token": token }, "0", new AbortController(), () => {});
  await pulumi.runtime.setMocks(
    {
      call: ({ inputs }) => inputs,
      newResource: async ({ type, name, inputs, id }) => {
        if (type === "pulumi:pulumi:StackReference") {
          return { id: id ?? name, state: { name: id, outputs, secretOutputNames } };
        }
        if (type !== "rayserve:index:Token") {
          const { id: own = name, outputs } = stack.learned?.(type, name, inputs) ?? {};
          return { id: own, state: { ...inputs, ...learned(type, name), ...outputs } };
        }
        const created = await provider.create!(`urn:pulumi:${project}::dev::${type}::${name}`, inputs);
        return { id: created.id, state: created.outs };
      },
    },
    project,
    stack.stack ?? "dev",
    false,
    "organization",
  );
  pulumi.runtime.setAllConfig(stack.config ?? {}, stack.secretConfig ?? []);
  process.env.PULUMI_CONFIG_SECRET_KEYS = JSON.stringify(stack.secretConfig ?? []);
  const { options } = internals.getStore().settings;
  const folder = options.rootDirectory;
  options.rootDirectory = stack.folder ?? "/project";
  const resources: Registered[] = [];
  record(resources);
  try {
    const result = await declare();
    await internals.waitForRPCs();
    return { result, resources };
  } finally {
    delete process.env.PULUMI_CONFIG_SECRET_KEYS;
    Object.assign(options, { rootDirectory: folder });
  }
}

/** The mocks hide a resource's options; the requests to the engine have them. */
function record(resources: Registered[]): void {
  const monitor = pulumi.runtime.getMonitor() as unknown as {
    registerResource(request: RegisterResourceRequest, callback: unknown): Promise<void>;
  };
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = (request, callback) => {
    const bag = request.getObject()?.toJavaScript() ?? {};
    resources.push({
      type: request.getType(),
      name: request.getName(),
      inputs: unwrap(bag) as Record<string, unknown>,
      secrets: secretKeys(bag as Record<string, unknown>),
      dependencies: request.getDependenciesList().map(nameOf),
      parent: nameOf(request.getParent()),
      deletedWith: nameOf(request.getDeletedwith()),
      secretOutputs: request.getAdditionalsecretoutputsList(),
    });
    return register(request, callback);
  };
}

const nameOf = (urn: string) => urn.split("::").at(-1) ?? "";

function learned(type: string, name: string): Record<string, unknown> {
  switch (type) {
    case "rayserve:local:Cluster":
      return { ...addressOf(name), grpcPort: 9000, headPid: 1 };
    case "rayserve:local:LoadBalancer":
      return { url: "http://127.0.0.1:8000", port: 8000, adminSocket: `/run/${name}/admin.sock`, pid: 1 };
    case "rayserve:kubernetes:Routed":
      return { url: "http://10.0.0.1" };
    case "rayserve:local:Package":
      return { uri: `file:///packages/${name}.zip` };
    default:
      return {};
  }
}

/** Where the mocked cluster of this name is. */
export function addressOf(cluster: string) {
  const port = 10_000 + [...cluster].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  return {
    dashboardUrl: `http://127.0.0.1:${port}`,
    dashboardTokenFile: `/run/${cluster}/token`,
    serveAddress: `127.0.0.1:${port + 10_000}`,
  };
}

export function named(resources: readonly Registered[], name: string, type?: string): Registered {
  const found = resources.filter(
    (resource) => resource.name === name && (type === undefined || resource.type === type),
  );
  assert.equal(found.length, 1, `${name} among ${resources.map((resource) => `${resource.type} ${resource.name}`)}`);
  return found[0]!;
}

/** Names of the provider's resources, sorted. */
export function customNames(resources: readonly Registered[]): string[] {
  return resources
    .filter(({ type }) => type.startsWith("rayserve:"))
    .map(({ name }) => name)
    .sort();
}

/** Everything that is done before a resource, through any number of others. */
export function doneBefore(resources: readonly Registered[], name: string): Set<string> {
  const found = new Set<string>();
  const visit = (at: string) => {
    for (const resource of resources.filter((other) => other.name === at && !other.type.startsWith("rayshift:"))) {
      for (const dependency of resource.dependencies) {
        if (!found.has(dependency)) visit(found.add(dependency) && dependency);
      }
    }
  };
  visit(name);
  return found;
}

/** The provider's own rules accept all inputs. */
export function assertAccepted(resources: readonly Registered[]): void {
  for (const { type, name, inputs } of resources.filter((resource) => resource.type.startsWith("rayserve:"))) {
    const resourceType = resourceTypes[type];
    assert.ok(resourceType, `the provider has no ${type}`);
    assert.deepEqual(resourceType.check(inputs), [], name);
  }
}

/** The value of an output, and whether it is a secret. */
export async function resolved<T>(output: pulumi.Output<T>): Promise<{ value: T; secret: boolean }> {
  const known = output as unknown as { promise(): Promise<T>; isSecret: Promise<boolean> };
  return { value: await known.promise(), secret: await known.isSecret };
}

export const tools = { home: "/home/user/.rayshift", python: "/tools/python", haproxy: "/tools/haproxy" };

/** Names the tools of the local target for the tests of a suite; none of them is started. */
export function useTools(): void {
  const variables = { RAYSHIFT_HOME: tools.home, RAYSHIFT_PYTHON: tools.python, RAYSHIFT_HAPROXY: tools.haproxy };
  const own = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  beforeEach(() => {
    Object.assign(process.env, variables);
  });
  afterEach(() => {
    for (const [name, value] of own) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}
