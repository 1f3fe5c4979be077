import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { parse } from "yaml";

/** Any object of Kubernetes. */
export interface KubernetesObject {
  apiVersion?: string;
  kind?: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; [key: string]: unknown };
  // biome-ignore lint/suspicious/noExplicitAny: the objects' schemas are the API server's.
  [key: string]: any;
}

interface Kubeconfig {
  clusters: Array<{ cluster: { server: string; "certificate-authority-data": string } }>;
  users: Array<{ user: { token: string } }>;
}

/** The API server refused; `status` as in HTTP, the message is its own. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** What the bed itself says to its API server, and only to that: it reads no other kubeconfigs than the bed's. */
export class Api {
  private readonly server: string;
  private readonly headers: Record<string, string>;
  private readonly agent: Agent;

  constructor(kubeconfig: string) {
    const { clusters, users } = parse(readFileSync(kubeconfig, "utf8")) as Kubeconfig;
    const { server, "certificate-authority-data": authority } = clusters[0]!.cluster;
    this.server = server;
    this.headers = { authorization: `Bearer ${users[0]!.user.token}` };
    this.agent = new Agent({ ca: Buffer.from(authority, "base64"), keepAlive: true });
  }

  get<T = KubernetesObject>(path: string): Promise<T> {
    return this.send("GET", path);
  }

  create(path: string, object: KubernetesObject | Record<string, unknown>): Promise<KubernetesObject> {
    return this.send("POST", path, "application/json", JSON.stringify(object));
  }

  /** Server-side apply. */
  apply(path: string, object: KubernetesObject): Promise<KubernetesObject> {
    const query = "fieldManager=bed&force=true";
    return this.send("PATCH", `${path}?${query}`, "application/apply-patch+yaml", JSON.stringify(object));
  }

  /** @param operations a JSON patch */
  patch(path: string, operations: object[]): Promise<KubernetesObject> {
    return this.send("PATCH", path, "application/json-patch+json", JSON.stringify(operations));
  }

  async delete(path: string): Promise<void> {
    await this.send("DELETE", path);
  }

  /**
   * Tells of all objects of a list, first those that are there, until the connection ends.
   *
   * @param each called with ADDED, MODIFIED or DELETED
   */
  watch(path: string, each: (type: string, object: KubernetesObject) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        `${this.server}${path}${path.includes("?") ? "&" : "?"}watch=1`,
        { agent: this.agent, headers: this.headers },
        (response) => {
          const { statusCode = 0 } = response;
          if (statusCode !== 200) {
            response.resume();
            reject(new ApiError(statusCode, `watching ${path} was refused (${statusCode})`));
            return;
          }
          let rest = "";
          response.setEncoding("utf8").on("data", (text: string) => {
            const lines = (rest + text).split("\n");
            rest = lines.pop() ?? "";
            for (const line of lines) {
              const { type, object } = JSON.parse(line) as { type: string; object: KubernetesObject };
              each(type, object);
            }
          });
          response.once("close", resolve);
        },
      );
      outgoing.once("error", reject).end();
    });
  }

  /** Connections that are kept open. */
  close(): void {
    this.agent.destroy();
  }

  private send<T>(method: string, path: string, type?: string, body?: string): Promise<T> {
    const headers = type === undefined ? this.headers : { ...this.headers, "content-type": type };
    return new Promise((resolve, reject) => {
      const outgoing = request(`${this.server}${path}`, { method, agent: this.agent, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part) => {
          text += part;
        });
        response.once("error", reject);
        response.once("end", () => {
          const { statusCode: status = 0 } = response;
          if (status >= 400) return reject(new ApiError(status, messageOf(text)));
          resolve((response.headers["content-type"]?.includes("json") ? JSON.parse(text) : text) as T);
        });
      });
      outgoing.once("error", reject).end(body);
    });
  }
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? text;
  } catch {
    return text;
  }
}
