import { existsSync, mkdirSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { digestDirectory, sourceFiles } from "../../components/version";
import { effect } from "../effects";
import type { CheckFailure, ResourceType } from "../resource";
import { withLock } from "./lock";
import { writeZip } from "./zip";

export interface PackageInputs {
  /** Absolute folder of the code; not needed once the store has the package. */
  source: string;
  /** Of the folder's files (components/version.ts): the identity of the package. */
  digest: string;
  /** Globs of files that are left out. */
  excludes: string[];
  /** Absolute folder of all packages on this host, created 0700. */
  store: string;
}

export interface PackageState extends PackageInputs {
  /** file://... of the zip, for Ray's runtime_env working_dir. */
  uri: string;
}

/** A working directory as a zip, stored under the digest of its content. */
export const localPackage: ResourceType<PackageInputs, PackageState> = {
  check({ source, digest, store }) {
    const failures: CheckFailure[] = [];
    for (const [property, value] of Object.entries({ source, store })) {
      if (value !== undefined && !value.startsWith("/")) {
        failures.push({ property, reason: `${value} is not an absolute path: give one` });
      }
    }
    if (digest !== undefined && !/^[\w.-]+$/.test(digest)) {
      failures.push({ property: "digest", reason: `${digest} cannot be a file's name: give the digest of the folder` });
    }
    return failures;
  },

  diff(state, inputs) {
    const replaces = (["digest", "store"] as const).filter((name) => state[name] !== inputs[name]);
    return replaces.length === 0 ? { changes: false } : { changes: true, replaces };
  },

  async create(inputs, context) {
    const { source, digest, excludes, store } = inputs;
    const zip = zipFile(inputs);
    mkdirSync(store, { recursive: true, mode: 0o700 });
    const make = async () => {
      if (existsSync(zip)) return;
      if (!existsSync(source)) {
        throw new Error(
          `the code of this version is neither in ${source} nor in ${store} (${digest}.zip). ` +
            "Check out the code that this version was deployed with, and run it again.",
        );
      }
      context.signal.throwIfAborted();
      const files = await sourceFiles(source, excludes);
      context.progress(`packing ${files.length} file${files.length === 1 ? "" : "s"} of ${source}`);
      const draft = `${zip}.part`;
      try {
        await writeZip(files, draft, context.signal);
        // Looked at after the packing: what was edited meanwhile must not be stored as this version.
        if ((await digestDirectory(source, excludes)) !== digest) {
          throw new Error(
            `the files in ${source} are not those of this version (digest ${digest}): they were edited since. ` +
              "Check out the code that this version was deployed with, or deploy the folder as a new version.",
          );
        }
        await effect("store a package", zip, () => rename(draft, zip));
      } finally {
        await rm(draft, { force: true });
      }
    };
    await withLock(zip, `the packing of ${source}`, make, context.signal);
    return { id: zip, state: stateOf(inputs) };
  },

  async read(_id, state) {
    return existsSync(zipFile(state)) ? stateOf(state) : undefined;
  },

  async update(_id, state, inputs) {
    return { ...state, ...inputs };
  },

  async delete(_id, state) {
    const zip = zipFile(state);
    await effect("remove a package", zip, () => rm(zip, { force: true }));
  },
};

function zipFile({ store, digest }: PackageInputs): string {
  return join(store, `${digest}.zip`);
}

function stateOf(inputs: PackageInputs): PackageState {
  return { ...inputs, uri: pathToFileURL(zipFile(inputs)).href };
}
