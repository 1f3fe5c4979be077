import type { PlacedVersion, Version } from "../components/record";
import { serveConfig } from "../components/serveConfig";
import { type Change, classify } from "../provider/serve/changes";
import { applicationName, type ServeConfig } from "../provider/serve/config";

/**
 * What an in-place update does to the replicas of each deployment, by the rules of Ray 2.60; a pure function. Deployments
 * that only the code names are "*" of their application.
 */
export function changesInPlace(running: PlacedVersion, wanted: Version): Change[] {
  // Addresses and the packaged folder are the cluster's, which stays: neither is ever what changes.
  const listen = { serveAddress: "127.0.0.1:0", grpcPort: 0 };
  const configOf = ({ spec }: Version): ServeConfig => serveConfig(spec, listen, running.workingDirectory?.digest);
  const after = configOf(wanted);
  const changes = classify(configOf(running), after);
  const told = (application: string) =>
    changes.some((change) => change.application === application && change.deployment === "*");
  const others = after.applications
    .map(applicationName)
    .filter((application) => !told(application))
    .map((application): Change => ({ application, deployment: "*", kind: "none", reason: "nothing changes" }));
  return [...changes, ...others];
}
