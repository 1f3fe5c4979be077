import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type handleUnaryCall, Server, ServerCredentials, status } from "@grpc/grpc-js";
import * as pluginMessages from "@pulumi/pulumi/proto/plugin_pb";
import * as service from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as messages from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { effect } from "../../../provider/effects";
import { unwrap, wrapSecrets } from "../../../provider/wire";
import { livePart, type Manifest, Objects } from "./objects";

/**
 * A fake of the plugin of @pulumi/kubernetes, for machines where that cannot be installed: it takes the same resources
 * from the engine and puts the same objects on a real API server by server-side apply.
 *
 * It does not prove what the real plugin's previews say, how it waits for objects (nothing here needs that), how it words
 * its errors, nor how it reads a kubeconfig.
 */

type Bag = Record<string, unknown>;

// biome-ignore lint/suspicious/noExplicitAny: the generated classes of requests and responses share no type.
type Call = handleUnaryCall<any, any>;

/** What an operation gives the engine. */
interface Outcome {
  id: string;
  outputs: Bag;
  inputs?: Bag;
}

/** Where a state keeps who owns the fields. */
const FIELD_MANAGER = "__fieldManager";

const ended = new AbortController();
let objects: Objects | undefined;

function required(): Objects {
  if (objects === undefined) throw new Error("the provider was not configured");
  return objects;
}

const bagOf = (struct: Struct | undefined): Bag => (struct?.toJavaScript() ?? {}) as Bag;
const manifestOf = (bag: Bag): Manifest => unwrap(bag) as Manifest;
const structOf = (bag: Bag): Struct => Struct.fromJavaScript(JSON.parse(JSON.stringify(bag)));

/** The object's secrets are the stack's. */
function outputsOf(live: Manifest, manager: string): Bag {
  const outputs = wrapSecrets(live, live.kind === "Secret" ? ["data", "stringData"] : []) as Bag;
  return { ...outputs, [FIELD_MANAGER]: manager };
}

const idOf = ({ metadata: { namespace, name } }: Manifest) => (namespace === undefined ? name : `${namespace}/${name}`);

/** A handler whose errors the engine shows. */
function handler(handle: (request: never) => Promise<unknown>): Call {
  return (call, callback) => {
    handle(call.request as never).then(
      (response) => callback(null, response),
      (error: unknown) => callback({ code: status.UNKNOWN, details: (error as Error).message }),
    );
  };
}

const handlers: Record<string, Call> = {
  getPluginInfo: handler(async () => {
    const info = new pluginMessages.PluginInfo();
    info.setVersion("4.34.2");
    return info;
  }),
  checkConfig: handler(async (request: messages.CheckRequest) => {
    const response = new messages.CheckResponse();
    response.setInputs(request.getNews());
    return response;
  }),
  diffConfig: handler(async (request: messages.DiffRequest) => {
    const same = isDeepStrictEqual(bagOf(request.getOlds()), bagOf(request.getNews()));
    return difference(!same, []);
  }),
  configure: handler(async (request: messages.ConfigureRequest) => {
    const { kubeconfig, context, namespace } = unwrap(bagOf(request.getArgs())) as Record<string, string | undefined>;
    objects = new Objects({ kubeconfig, context } as object, namespace ?? "default");
    const response = new messages.ConfigureResponse();
    response.setAcceptsecrets(true);
    response.setAcceptresources(true);
    response.setAcceptoutputs(true);
    response.setSupportspreview(true);
    return response;
  }),
  check: handler(async (request: messages.CheckRequest) => {
    const response = new messages.CheckResponse();
    const news = bagOf(request.getNews());
    const { metadata } = manifestOf(news);
    if (metadata?.name === undefined) {
      const failure = new messages.CheckFailure();
      failure.setProperty("metadata.name");
      failure.setReason("this fake makes no names up");
      response.setFailuresList([failure]);
    }
    response.setInputs(structOf(news));
    return response;
  }),
  diff: handler(async (request: messages.DiffRequest) => {
    const before = manifestOf(bagOf(request.getOldInputs()));
    const after = manifestOf(bagOf(request.getNews()));
    const identity = ({ apiVersion, kind, metadata }: Manifest) => [
      apiVersion,
      kind,
      metadata.name,
      metadata.namespace,
    ];
    const replaced = !isDeepStrictEqual(identity(before), identity(after));
    return difference(!isDeepStrictEqual(before, after), replaced ? ["metadata"] : []);
  }),
  create: handler(async (request: messages.CreateRequest) => {
    const { id, outputs } = await put(bagOf(request.getProperties()), request.getPreview());
    const response = new messages.CreateResponse();
    response.setId(request.getPreview() ? "" : id);
    response.setProperties(structOf(outputs));
    return response;
  }),
  update: handler(async (request: messages.UpdateRequest) => {
    const olds = bagOf(request.getOlds());
    const { outputs } = await put(bagOf(request.getNews()), request.getPreview(), olds[FIELD_MANAGER] as string);
    const response = new messages.UpdateResponse();
    // What a preview does not know yet stays as it is.
    const shown = request.getPreview() ? { ...olds, ...outputs, metadata: olds.metadata } : outputs;
    response.setProperties(structOf(shown));
    return response;
  }),
  read: handler(async (request: messages.ReadRequest) => {
    const inputs = manifestOf(bagOf(request.getInputs()));
    const live = await required().get(inputs);
    const response = new messages.ReadResponse();
    if (live === undefined) return response;
    response.setId(request.getId());
    const { [FIELD_MANAGER]: manager } = bagOf(request.getProperties());
    response.setProperties(structOf(outputsOf(live, manager as string)));
    const read = livePart(inputs, live) as Bag;
    response.setInputs(structOf(live.kind === "Secret" ? (wrapSecrets(read, ["data"]) as Bag) : read));
    return response;
  }),
  delete: handler(async (request: messages.DeleteRequest) => {
    const manifest = manifestOf(bagOf(request.getOldInputs()));
    await effect(`delete ${manifest.kind}`, idOf(manifest), () => required().delete(manifest, ended.signal));
    return new Empty();
  }),
  cancel: handler(async () => {
    ended.abort(new Error("the update was cancelled"));
    return new Empty();
  }),
};

/** @param before the manager that the state has; each creation has another one, as with the real plugin */
async function put(inputs: Bag, preview: boolean, before?: string): Promise<Outcome> {
  const manifest = manifestOf(inputs);
  if (preview) return { id: "", outputs: inputs };
  ended.signal.throwIfAborted();
  const placed = await required().placed(manifest);
  const own = placed.metadata.annotations?.["pulumi.com/patchFieldManager"];
  const manager = own ?? before ?? `pulumi-kubernetes-${randomBytes(4).toString("hex")}`;
  const live = await effect(`apply ${placed.kind}`, idOf(placed), () => required().apply(manager, placed));
  return { id: idOf(live), outputs: outputsOf(live, manager) };
}

function difference(changes: boolean, replaces: string[]): messages.DiffResponse {
  const response = new messages.DiffResponse();
  const { DIFF_SOME, DIFF_NONE } = messages.DiffResponse.DiffChanges;
  response.setChanges(changes ? DIFF_SOME : DIFF_NONE);
  response.setReplacesList(replaces);
  response.setDeletebeforereplace(replaces.length > 0);
  return response;
}

const engine = process.ppid;
// A killed engine leaves its plugins alive.
setInterval(() => {
  if (process.ppid !== engine) process.exit(1);
}, 100).unref();

const server = new Server();
const unimplemented: Call = (_call, callback) => callback({ code: status.UNIMPLEMENTED, details: "not in this fake" });
const { ResourceProviderService: definition } = service as unknown as {
  ResourceProviderService: Record<string, { path: string }>;
};
const implementation = Object.fromEntries(
  Object.keys(definition).map((name) => [name, handlers[name] ?? unimplemented]),
);
server.addService(definition as never, implementation as never);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  console.log(port);
});
