/**
 * What a provider says of a failed resource, with what can be done about it where its own words leave that open.
 *
 * @param urn of the resource; absent for what the engine says of itself
 */
export function explained(message: string, urn: string | undefined): string {
  const manager = /conflict with "([^"]+)"/.exec(message)?.[1];
  if (manager !== undefined) {
    const kind = kindOf(urn);
    return (
      `${message}\nSomebody else, "${manager}", owns fields that the service needs, and the object was left as it is. Take them out of ` +
      `what "${manager}" applies, or delete the object to have it made again, and run the command again. ` +
      `\`kubectl get ${kind} --all-namespaces --show-managed-fields -o yaml\` shows who owns what.`
    );
  }
  if (/asked for the client to provide credentials/.test(message)) {
    return `${message}\nThe credentials are refused. Are they expired? Log in again, or give another kubeconfig in \`rayshift:kubernetes\`.`;
  }
  const cloud = clouds[typeOf(urn).split(":")[0] ?? ""];
  if (cloud !== undefined && /already ?(exists|owned)|Duplicate\w*Name/i.test(message)) {
    return (
      `${message}\nThe stack does not know of it: an update that was killed while ${cloud} made it may have left it. Where it is ` +
      `nobody else's, delete the ${kindOf(urn)} of this name in the account, and run the command again.`
    );
  }
  return message;
}

const clouds: Record<string, string> = { aws: "AWS", gcp: "Google Cloud" };

/** Of `...$kubernetes:gateway.networking.k8s.io/v1:Gateway::gateway` it is `gateway`, as kubectl takes it. */
const kindOf = (urn: string | undefined) => typeOf(urn).split(":").at(-1)?.toLowerCase() || "object";

/** Pulumi's own, without those of its parents. */
const typeOf = (urn = "") => urn.split("::").at(-2)?.split("$").at(-1) ?? "";
