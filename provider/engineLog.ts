import { credentials } from "@grpc/grpc-js";
import * as engineService from "@pulumi/pulumi/proto/engine_grpc_pb";
import * as engineMessages from "@pulumi/pulumi/proto/engine_pb";

/** Sends one line to the engine, to be shown with a resource; an ephemeral line is replaced by the next one. */
export type EngineLog = (urn: string, severity: "info" | "warning", message: string, ephemeral: boolean) => void;

/**
 * The log of the engine that started this process (its address is the last argument), or one that says nothing when
 * there is none. A line that cannot be delivered is dropped: progress never fails an operation.
 */
export function engineLog(
  address: string | undefined = process.argv.slice(2).findLast((arg) => /:\d+$/.test(arg)),
): EngineLog {
  if (address === undefined) return () => {};
  const engine = new engineService.EngineClient(address, credentials.createInsecure());
  const severities = { info: engineMessages.LogSeverity.INFO, warning: engineMessages.LogSeverity.WARNING };
  return (urn, severity, message, ephemeral) => {
    const request = new engineMessages.LogRequest();
    request.setSeverity(severities[severity]);
    request.setMessage(message);
    request.setUrn(urn);
    request.setEphemeral(ephemeral);
    engine.log(request, () => {});
  };
}
