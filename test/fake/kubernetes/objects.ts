import { setTimeout as sleep } from "node:timers/promises";
import {
  type ApiServer,
  ApiServerRefused,
  applyObject,
  ask,
  getObject,
  type KubernetesObject,
  messageOf,
} from "../../../provider/kubernetes/api";

/** An object as the program declares it. */
export type Manifest = KubernetesObject & { apiVersion: string; kind: string; [key: string]: unknown };

interface Kind {
  /** Of the list, with the group and version. */
  path: string;
  plural: string;
  namespaced: boolean;
}

const GONE_WITHIN_MS = 600_000;
const POLL_MS = 200;

/** The objects of one API server, as a provider with server-side apply has them. */
export class Objects {
  private readonly kinds = new Map<string, Promise<Kind>>();

  constructor(
    private readonly server: ApiServer,
    private readonly defaultNamespace: string,
  ) {}

  /** The manifest in its namespace. */
  async placed(manifest: Manifest): Promise<Manifest> {
    const { namespaced } = await this.kindOf(manifest);
    const { namespace, ...metadata } = manifest.metadata;
    if (!namespaced) return { ...manifest, metadata };
    return { ...manifest, metadata: { ...metadata, namespace: namespace ?? this.defaultNamespace } };
  }

  async apply(manager: string, manifest: Manifest): Promise<Manifest> {
    const { name, namespace, annotations } = manifest.metadata;
    try {
      return await applyObject<Manifest>(this.server, await this.pathOf(manifest), manifest, {
        manager,
        force: annotations?.["pulumi.com/patchForce"] === "true",
      });
    } catch (error) {
      if (!(error instanceof ApiServerRefused) || error.status !== 409) throw error;
      throw new Error(
        `the Kubernetes API server reported a field conflict of ${manifest.kind} "${namespace}/${name}" under server-side ` +
          `apply: ${error.message}`,
      );
    }
  }

  async get(manifest: Manifest): Promise<Manifest | undefined> {
    return getObject<Manifest>(this.server, await this.pathOf(manifest));
  }

  /** Resolves when the object is gone, and with it, where its annotation says so, what it owns. */
  async delete(manifest: Manifest, signal: AbortSignal): Promise<void> {
    const path = await this.pathOf(manifest);
    const propagationPolicy = policyOf(manifest.metadata.annotations?.["pulumi.com/deletionPropagationPolicy"]);
    const body = JSON.stringify({ apiVersion: "v1", kind: "DeleteOptions", propagationPolicy });
    const headers = { "content-type": "application/json" };
    const answer = await ask(this.server, path, { method: "DELETE", headers, body });
    if (answer.status === 404) return;
    if (answer.status >= 300) throw new Error(`deleting ${path}: ${messageOf(answer.text)} (${answer.status})`);
    for (const end = Date.now() + GONE_WITHIN_MS; Date.now() < end; await sleep(POLL_MS, undefined, { signal })) {
      if ((await getObject(this.server, path)) === undefined) return;
    }
    throw new Error(`${path} is still there after ${GONE_WITHIN_MS / 1000} s`);
  }

  private async pathOf(manifest: Manifest): Promise<string> {
    const { path, plural, namespaced } = await this.kindOf(manifest);
    const { name, namespace = this.defaultNamespace } = manifest.metadata;
    return `${path}${namespaced ? `/namespaces/${namespace}` : ""}/${plural}/${name}`;
  }

  private kindOf({ apiVersion, kind }: Manifest): Promise<Kind> {
    const key = `${apiVersion} ${kind}`;
    const known = this.kinds.get(key) ?? this.discover(apiVersion, kind);
    this.kinds.set(key, known);
    known.catch(() => this.kinds.delete(key));
    return known;
  }

  private async discover(apiVersion: string, kind: string): Promise<Kind> {
    const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const answer = await ask(this.server, path);
    const { resources = [] } = JSON.parse(answer.status === 200 ? answer.text : "{}") as {
      resources?: Array<{ name: string; kind: string; namespaced: boolean }>;
    };
    const found = resources.find((each) => each.kind === kind && !each.name.includes("/"));
    if (found === undefined) {
      throw new Error(
        `the Kubernetes API server has no ${kind} (${apiVersion}): is its CustomResourceDefinition there?`,
      );
    }
    return { path, plural: found.name, namespaced: found.namespaced };
  }
}

/** The live values of what a manifest names, and of nothing else: a difference is somebody's change. */
export function livePart(declared: unknown, live: unknown): unknown {
  if (Array.isArray(declared)) {
    if (!Array.isArray(live)) return live;
    return live.map((item, index) => (index < declared.length ? livePart(declared[index], item) : item));
  }
  if (typeof declared !== "object" || declared === null || typeof live !== "object" || live === null) return live;
  const entries = Object.entries(declared).map(([key, value]) => {
    return [key, livePart(value, (live as Record<string, unknown>)[key])] as const;
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function policyOf(annotation: string | undefined): string {
  return annotation === "foreground" ? "Foreground" : annotation === "orphan" ? "Orphan" : "Background";
}
