import { type handleUnaryCall, Server, ServerCredentials, status } from "@grpc/grpc-js";
import * as pluginMessages from "@pulumi/pulumi/proto/plugin_pb";
import * as service from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as messages from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { unwrap } from "../../../provider/wire";
import { type Bag, type CloudObject, CloudObjects } from "./objects";
import { type CloudRules, FakeCloudApi } from "./rules";

/**
 * A fake of the plugins of @pulumi/aws and @pulumi/gcp: it takes any resource from the engine and keeps it as an object of
 * a fake cloud in the folder RAYSHIFT_FAKE_CLOUD. It refuses to delete what another object refers to, to refer to what is
 * not there, and what the cloud's rules refuse.
 *
 * It does not prove that the real plugin takes these inputs or makes the same of them, which changes replace an object
 * there beyond those that the rules name, how long anything takes, nor that a role has the rights for it.
 */
export function servePlugin(rules: CloudRules): void {
  const folder = process.env.RAYSHIFT_FAKE_CLOUD;
  if (folder === undefined) throw new Error("RAYSHIFT_FAKE_CLOUD has to name the folder of the fake cloud");
  const api = new FakeCloudApi(new CloudObjects(folder), rules);
  endWithEngine();
  serve(handlersOf(api, rules));
}

// biome-ignore lint/suspicious/noExplicitAny: the generated classes of requests and responses share no type.
type Call = handleUnaryCall<any, any>;

const bagOf = (struct: Struct | undefined): Bag => (struct?.toJavaScript() ?? {}) as Bag;
const plainOf = (struct: Struct | undefined): Bag => unwrap(bagOf(struct)) as Bag;
const structOf = (bag: Bag): Struct => Struct.fromJavaScript(JSON.parse(JSON.stringify(bag)));
const typeOf = (urn: string) => urn.split("::").at(-2)?.split("$").at(-1) ?? "";
const nameOf = (urn: string) => urn.split("::").at(-1) ?? "";

/** A handler whose errors the engine shows. */
function handler(handle: (request: never) => unknown): Call {
  return (call, callback) => {
    Promise.resolve()
      .then(() => handle(call.request as never))
      .then(
        (response) => callback(null, response),
        (error: unknown) => callback({ code: status.UNKNOWN, details: (error as Error).message }),
      );
  };
}

/** What came as a secret goes back as one. */
const stateOf = (given: Bag, { inputs, outputs }: CloudObject): Bag => {
  const added = Object.entries(outputs).filter(([key, value]) => inputs[key] !== value || !(key in given));
  return { ...given, ...Object.fromEntries(added) };
};

function handlersOf(api: FakeCloudApi, rules: CloudRules): Record<string, Call> {
  return {
    getPluginInfo: handler(() => {
      const info = new pluginMessages.PluginInfo();
      info.setVersion(rules.version);
      return info;
    }),
    checkConfig: handler(checked),
    diffConfig: handler(() => differenceOf({ changes: false, replaces: [] })),
    configure: handler(() => {
      const response = new messages.ConfigureResponse();
      response.setAcceptsecrets(true);
      response.setAcceptresources(true);
      response.setAcceptoutputs(true);
      response.setSupportspreview(true);
      return response;
    }),
    check: handler(checked),
    diff: handler((request: messages.DiffRequest) => {
      const [before, after] = [plainOf(request.getOldInputs()), plainOf(request.getNews())];
      for (const name of request.getIgnorechangesList()) after[name] = before[name];
      return differenceOf(api.difference(typeOf(request.getUrn()), before, after));
    }),
    create: handler((request: messages.CreateRequest) => {
      const response = new messages.CreateResponse();
      const given = bagOf(request.getProperties());
      if (request.getPreview()) {
        response.setProperties(structOf(given));
        return response;
      }
      const urn = request.getUrn();
      const object = api.create(typeOf(urn), nameOf(urn), plainOf(request.getProperties()));
      response.setId(object.id);
      response.setProperties(structOf(stateOf(given, object)));
      return response;
    }),
    update: handler((request: messages.UpdateRequest) => {
      const response = new messages.UpdateResponse();
      const given = bagOf(request.getNews());
      if (request.getPreview()) {
        response.setProperties(structOf({ ...bagOf(request.getOlds()), ...given }));
        return response;
      }
      const urn = request.getUrn();
      const object = api.update(typeOf(urn), nameOf(urn), request.getId(), plainOf(request.getNews()));
      response.setProperties(structOf(stateOf(given, object)));
      return response;
    }),
    read: handler((request: messages.ReadRequest) => {
      const response = new messages.ReadResponse();
      const object = api.read(typeOf(request.getUrn()), request.getId());
      if (object === undefined) return response;
      response.setId(object.id);
      response.setProperties(request.getProperties());
      response.setInputs(request.getInputs());
      return response;
    }),
    delete: handler((request: messages.DeleteRequest) => {
      api.delete(typeOf(request.getUrn()), request.getId());
      return new Empty();
    }),
    cancel: handler(() => new Empty()),
  };
}

function checked(request: messages.CheckRequest): messages.CheckResponse {
  const response = new messages.CheckResponse();
  response.setInputs(request.getNews());
  return response;
}

function differenceOf({ changes, replaces }: { changes: boolean; replaces: string[] }): messages.DiffResponse {
  const response = new messages.DiffResponse();
  const { DIFF_SOME, DIFF_NONE } = messages.DiffResponse.DiffChanges;
  response.setChanges(changes ? DIFF_SOME : DIFF_NONE);
  response.setReplacesList(replaces);
  return response;
}

/** A killed engine leaves its plugins alive. */
function endWithEngine(): void {
  const engine = process.ppid;
  setInterval(() => {
    if (process.ppid !== engine) process.exit(1);
  }, 100).unref();
}

function serve(handlers: Record<string, Call>): void {
  const unimplemented: Call = (_call, callback) =>
    callback({ code: status.UNIMPLEMENTED, details: "not in this fake" });
  const { ResourceProviderService: definition } = service as unknown as {
    ResourceProviderService: Record<string, unknown>;
  };
  const server = new Server();
  const implementation = Object.fromEntries(
    Object.keys(definition).map((name) => [name, handlers[name] ?? unimplemented]),
  );
  server.addService(definition as never, implementation as never);
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
    if (error !== null) throw error;
    console.log(port);
  });
}
