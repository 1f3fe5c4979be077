import * as pulumi from "@pulumi/pulumi";
import type { ReaperInputs } from "../../provider/gcp/reaper";
import { type Args, withOutputs } from "../resources";

/** What ends the machines that Ray's autoscaler has made. */
export class Reaper extends pulumi.CustomResource {
  constructor(name: string, args: Args<ReaperInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:gcp:Reaper", name, withOutputs(args, []), options);
  }
}
