import type * as pulumi from "@pulumi/pulumi";
import type { PlacedVersion } from "../record";
import { Package } from "./resources";

/** The packaged working directories of a program: one for each content, whichever versions share it. */
export class Packages {
  private readonly byDigest = new Map<string, Package>();

  /** @param store folder of the stack's packages */
  constructor(private readonly store: string) {}

  /** URI of the version's packaged working directory; undefined when it has none. */
  uriOf(
    { workingDirectory: files }: PlacedVersion,
    parent: pulumi.Resource | undefined,
  ): pulumi.Output<string> | undefined {
    if (files === undefined) return undefined;
    let made = this.byDigest.get(files.digest);
    if (made === undefined) {
      const options = parent === undefined ? {} : { parent };
      made = new Package(`package-${files.digest.slice(0, 8)}`, { ...files, store: this.store }, options);
      this.byDigest.set(files.digest, made);
    }
    return made.uri;
  }
}
