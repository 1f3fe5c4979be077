import { type ReaperInputs as Common, reaperType } from "../cloud/reaper";
import { clusterTag, instancesOf, terminateInstances } from "./instances";

export interface ReaperInputs extends Common {
  region: string;
}

/** `rayserve:aws:Reaper`: ends the workers of a cluster, by Ray's tag. */
export const reaper = reaperType<ReaperInputs>({
  identity: ["region", "clusterName"],
  async list(inputs, signal) {
    return (await instancesOf(inputs, false, signal)).map(({ id, state }) => ({ name: id, state }));
  },
  end: terminateInstances,
  see: ({ region, clusterName }) =>
    `aws ec2 describe-instances --region ${region} --filters Name=tag:${clusterTag},Values=${clusterName}`,
});
