import * as pulumi from "@pulumi/pulumi";
import type {
  ReadResourceRequest,
  RegisterResourceOutputsRequest,
  RegisterResourceRequest,
} from "@pulumi/pulumi/proto/resource_pb";
import * as responses from "@pulumi/pulumi/proto/resource_pb";
import * as state from "@pulumi/pulumi/runtime/state";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { serviceFromStackConfig } from "../../components/program";

/** Properties as the engine keeps them: secrets are marked. */
export type Bag = Record<string, unknown>;

/** A resource as a program asks for it. */
export interface Goal {
  urn: string;
  type: string;
  name: string;
  custom: boolean;
  inputs: Bag;
  parent: string;
  dependencies: string[];
  deletedWith: string;
  ignoreChanges: string[];
}

/** A resource as the program is told that it is. */
export interface Given {
  id: string;
  outputs: Bag;
}

export interface ProgramOptions {
  project: string;
  stack: string;
  folder: string;
  /** By full key. */
  config: Record<string, string>;
  /** Of the stack's last update. */
  outputs: Bag;
  /** Called when all dependencies of the resource are done; what it never resolves, the program waits for. */
  register: (goal: Goal) => Promise<Given>;
  log: (severity: "info" | "warning" | "error", message: string) => void;
}

/** What the SDK has, but not in its types. */
interface Internals {
  withLocalStorage<T>(callback: () => Promise<T>): Promise<T>;
  getStore(): { settings: { engine: unknown; options: { rootDirectory: string } } & object } & Record<string, unknown>;
  setMockOptions(monitor: object, project: string, stack: string, preview: boolean, organization: string): void;
  serializeProperties(label: string, properties: object): Promise<Bag>;
  waitForRPCs(): Promise<void>;
}
const internals = { ...state, ...pulumi.runtime } as unknown as Internals;

// Where in the program a resource is declared interests nobody here, and finding it out takes long.
(pulumi.Resource as unknown as { callsites: () => [] }).callsites = () => [];

const supported = ["Secrets", "ResourceReferences", "DeletedWith", "ReplaceWith", "AliasSpecs", "Parameterization"];
const severities = ["", "info", "warning", "error"] as const;

/** Runs the real program once against a fake engine, and gives its outputs. Rejects with what the program throws. */
export function runProgram(options: ProgramOptions): Promise<Bag> {
  const { project, stack, folder, config, log } = options;
  return internals.withLocalStorage(async () => {
    internals.setMockOptions(monitorFor(options), project, stack, false, "organization");
    const store = internals.getStore();
    for (const feature of supported) store[`supports${feature}`] = true;
    store.settings.options.rootDirectory = folder;
    store.settings.engine = {
      log: (request: { getSeverity(): number; getMessage(): string }, done: () => void) => {
        const severity = severities[request.getSeverity()];
        if (severity) log(severity, request.getMessage());
        done();
      },
    };
    pulumi.runtime.setAllConfig(config, []);
    const outputs = await serviceFromStackConfig();
    const serialised = await internals.serializeProperties("outputs", outputs);
    await internals.waitForRPCs();
    return serialised;
  });
}

type Answer<T> = (error: unknown, response?: T) => void;

function monitorFor({ project, stack, outputs, register }: ProgramOptions): object {
  const urnOf = (type: string, name: string, parent: string) => {
    const above = parent === "" ? "" : `${parent.split("::")[2]}$`;
    return `urn:pulumi:${stack}::${project}::${above}${type}::${name}`;
  };
  return {
    registerResource(request: RegisterResourceRequest, answer: Answer<object>) {
      const [type, name, parent] = [request.getType(), request.getName(), request.getParent()];
      const goal: Goal = {
        urn: urnOf(type, name, parent),
        type,
        name,
        custom: request.getCustom(),
        inputs: withoutNulls((request.getObject()?.toJavaScript() ?? {}) as Bag),
        parent,
        dependencies: request.getDependenciesList(),
        deletedWith: request.getDeletedwith(),
        ignoreChanges: request.getIgnorechangesList(),
      };
      register(goal).then(({ id, outputs: made }) => {
        const response = new responses.RegisterResourceResponse();
        response.setUrn(goal.urn);
        response.setId(id);
        response.setObject(structOf(made));
        answer(null, response);
      }, answer);
    },
    readResource(request: ReadResourceRequest, answer: Answer<object>) {
      const response = new responses.ReadResourceResponse();
      response.setUrn(urnOf(request.getType(), request.getName(), request.getParent()));
      response.setProperties(structOf({ name: request.getId(), outputs, secretOutputNames: [] }));
      answer(null, response);
    },
    registerResourceOutputs: (_request: RegisterResourceOutputsRequest, answer: Answer<object>) => answer(null, {}),
    supportsFeature: (_request: object, answer: Answer<object>) => answer(null, { getHassupport: () => true }),
  };
}

const structOf = (bag: Bag) => Struct.fromJavaScript(bag as Parameters<typeof Struct.fromJavaScript>[0]);
const withoutNulls = (bag: Bag) => Object.fromEntries(Object.entries(bag).filter(([, value]) => value !== null));
