import type { EC2Client, Instance } from "@aws-sdk/client-ec2";
import type { AwsInstances } from "../serve/dashboard";

/** The tags that Ray's autoscaler knows its machines by. */
export const clusterTag = "ray-cluster-name";
export const nodeTypeTag = "ray-node-type";

/** States in which a machine takes up quota, or will. */
const THERE = ["pending", "running", "shutting-down", "stopping", "stopped"];

type Place = Pick<AwsInstances, "region" | "clusterName">;

/** Ids of a cluster's machines that are not gone, head and workers or the workers alone. */
export async function instancesOf(
  place: Place,
  workersOnly: boolean,
  signal?: AbortSignal,
): Promise<Array<{ id: string; state: string }>> {
  return withClient(place, async (client) => {
    const { paginateDescribeInstances } = await import("@aws-sdk/client-ec2");
    const Filters = [
      { Name: `tag:${clusterTag}`, Values: [place.clusterName] },
      { Name: "instance-state-name", Values: THERE },
      ...(workersOnly ? [{ Name: `tag:${nodeTypeTag}`, Values: ["worker"] }] : []),
    ];
    const found: Instance[] = [];
    for await (const page of paginateDescribeInstances({ client }, { Filters }, options(signal))) {
      found.push(...(page.Reservations ?? []).flatMap(({ Instances = [] }) => Instances));
    }
    return found.map(({ InstanceId = "", State }) => ({ id: InstanceId, state: State?.Name ?? "" }));
  });
}

/** How many workers of a cluster there are, whatever Ray says: one that ends still takes up quota. */
export async function countWorkerInstances(place: Place, signal?: AbortSignal): Promise<number> {
  return (await instancesOf(place, true, signal)).length;
}

/** Tells EC2 to end machines, which takes it a minute or two. */
export async function terminateInstances(place: Place, ids: readonly string[], signal?: AbortSignal): Promise<void> {
  await withClient(place, async (client) => {
    const { TerminateInstancesCommand } = await import("@aws-sdk/client-ec2");
    await client.send(new TerminateInstancesCommand({ InstanceIds: [...ids] }), options(signal));
  });
}

/** Loaded where it is needed only. Credentials and endpoints are those of the usual chain, as Pulumi's own provider has them. */
async function withClient<T>({ region }: Place, use: (client: EC2Client) => Promise<T>): Promise<T> {
  const { EC2Client } = await import("@aws-sdk/client-ec2");
  const client = new EC2Client({ region });
  try {
    return await use(client);
  } finally {
    client.destroy();
  }
}

const options = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { abortSignal: signal });
