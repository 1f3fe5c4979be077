import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ServiceSpec } from "../serviceSpec";
import { labelsOf } from "./names";
import type { KubernetesSettings } from "./settings";

/** The token in Serve's own proxy, where nothing before the clusters can ask for it. */

export interface IngressArgs {
  /** Name of the RayService. */
  name: string;
  /** `PROJECT/STACK` */
  stack: string;
  spec: ServiceSpec;
  settings: KubernetesSettings;
}

const MODULE = "rayshift_ingress";
const CODE = "/etc/rayshift/ingress";
const TOKENS = "/etc/rayshift/query-token";

const configMapName = (rayService: string) => `${rayService}-ingress`;
const secretName = (rayService: string) => `${rayService}-query-token`;

/** Whether the pods of this version ask for the query token themselves. */
export function asksItself({ spec, settings }: Pick<IngressArgs, "spec" | "settings">): boolean {
  return spec.query_auth_token_enabled && settings.gateway.implementation === "other";
}

/** The ConfigMap with what Serve's proxy imports. */
export function ingressCode({ name, stack, spec, settings }: IngressArgs) {
  const file = `${MODULE}.py`;
  const source = join(__dirname, "..", "..", "..", "provider", "serve", "python", file);
  return {
    metadata: {
      name: configMapName(name),
      namespace: settings.namespace,
      labels: labelsOf(spec.name, stack, name),
    },
    immutable: true,
    data: { [file]: readFileSync(source, "utf8") },
  };
}

/** The Secret that it compares with, without its data. A version has its own: its pods need one until all of them are gone. */
export function ingressToken({ name, stack, spec, settings }: IngressArgs) {
  return {
    metadata: { name: secretName(name), namespace: settings.namespace, labels: labelsOf(spec.name, stack, name) },
    type: "Opaque",
  };
}

/** What it adds to a pod of the version. */
export function ingressOfPod({ name }: Pick<IngressArgs, "name">) {
  const [code, tokens] = ["rayshift-ingress", "rayshift-query-token"];
  return {
    container: {
      // KubeRay runs it before `ray start`. The image's own path stays, which `env` would replace.
      command: [`export PYTHONPATH="${CODE}:$PYTHONPATH"`],
      env: [
        { name: "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", value: `${MODULE}.middlewares` },
        { name: "RAYSHIFT_QUERY_TOKENS", value: `${TOKENS}/token` },
      ],
      volumeMounts: [
        { name: code, mountPath: CODE, readOnly: true },
        // Whole, not by `subPath`: only so does a pod see a token that was replaced.
        { name: tokens, mountPath: TOKENS, readOnly: true },
      ],
    },
    pod: {
      volumes: [
        { name: code, configMap: { name: configMapName(name) } },
        { name: tokens, secret: { secretName: secretName(name), items: [{ key: "token", path: "token" }] } },
      ],
    },
  };
}
