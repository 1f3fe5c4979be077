import { readFileSync } from "node:fs";
import { z } from "zod";
import type { DashboardAddress } from "../serve/dashboard";

/** A node of a cluster as Ray sees it. */
export interface ClusterNode {
  id: string;
  /** The worker group's name; the head has none. */
  group: string;
  alive: boolean;
  head: boolean;
}

const NODES_TIMEOUT_MS = 10_000;
const NodesAnswer = z.object({
  data: z.object({
    result: z.object({
      result: z.array(
        z.object({
          node_id: z.string(),
          is_head_node: z.boolean(),
          state: z.string(),
          labels: z.record(z.string(), z.string()).nullish(),
        }),
      ),
    }),
  }),
});

/** All nodes that Ray knows of, ended ones too for a while. About 20 ms of Ray's time. */
export async function clusterNodes(address: DashboardAddress, signal?: AbortSignal): Promise<ClusterNode[]> {
  const timeout = AbortSignal.timeout(NODES_TIMEOUT_MS);
  const { dashboardUrl, dashboardTokenFile } = address;
  const headers =
    dashboardTokenFile === undefined
      ? {}
      : { authorization: `Bearer ${readFileSync(dashboardTokenFile, "utf8").trim()}` };
  const response = await fetch(new URL("/api/v0/nodes", dashboardUrl), {
    headers,
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  });
  if (!response.ok) throw new Error(`Ray's dashboard at ${dashboardUrl} does not tell its nodes (${response.status})`);
  const answer = NodesAnswer.parse(await response.json());
  return answer.data.result.result.map((node) => ({
    id: node.node_id,
    group: node.is_head_node ? "" : (node.labels?.["ray.io/node-group"] ?? ""),
    alive: node.state === "ALIVE",
    head: node.is_head_node,
  }));
}
