import * as pulumi from "@pulumi/pulumi";
import type { ApplicationsInputs } from "../provider/serve/applications";
import type { TokenInputs } from "../provider/token";

/** Resources of the provider that every target has, as a program declares them. */

export type Args<T> = { [K in keyof T]: pulumi.Input<T[K]> };

/** All inputs, and the named outputs that the provider fills in. */
export function withOutputs(args: object, outputs: readonly string[]): pulumi.Inputs {
  return { ...Object.fromEntries(outputs.map((output) => [output, undefined])), ...args };
}

export class Token extends pulumi.CustomResource {
  declare readonly value: pulumi.Output<string>;

  constructor(name: string, args: Args<TokenInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:index:Token", name, withOutputs(args, ["value"]), {
      ...options,
      additionalSecretOutputs: ["value"],
    });
  }
}

export class Applications extends pulumi.CustomResource {
  constructor(name: string, args: Args<ApplicationsInputs>, options: pulumi.CustomResourceOptions) {
    super("rayserve:serve:Applications", name, withOutputs(args, []), options);
  }
}
