import { z } from "zod";
import { type DashboardAddress, getText } from "./dashboard";

/** A node of a cluster as Ray sees it. */
export interface ClusterNode {
  id: string;
  /** The worker group's name; the head has none. */
  group: string;
  alive: boolean;
  head: boolean;
}

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
  const answer = NodesAnswer.parse(JSON.parse(await getText(address, "/api/v0/nodes", signal)));
  return answer.data.result.result.map((node) => ({
    id: node.node_id,
    group: node.is_head_node ? "" : (node.labels?.["ray.io/node-group"] ?? ""),
    alive: node.state === "ALIVE",
    head: node.is_head_node,
  }));
}
