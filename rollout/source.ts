import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { parseDocument } from "yaml";
import { InvalidInput } from "../components/problems";
import { parseServiceSpec, type ServiceSpec } from "../components/serviceSpec";
import { isLocalPath } from "../components/specParts";

/** A service as the user wrote it: checked, and in the text form that goes into the stack's config. */
export interface ServiceSource {
  spec: ServiceSpec;
  /** As written, with paths relative to the project's folder. */
  written: Record<string, unknown>;
  notices: string[];
}

/**
 * Reads a service YAML; paths in it are relative to the file. Throws InvalidInput with all its problems.
 *
 * @param folder the project's folder
 */
export function readServiceFile(file: string, folder: string): ServiceSource {
  const document = parseDocument(readText(file));
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ message }) => ({ path: file, rule: message, remedy: "correct the YAML" }));
    throw new InvalidInput(problems, "service");
  }
  return sourceOf(document.toJS(), dirname(resolve(file)), folder);
}

/** A service given as a value; paths in it are relative to `base`. */
export function sourceOf(value: unknown, base: string, folder: string): ServiceSource {
  const { spec, notices } = parseServiceSpec(value);
  const written = { ...(value as Record<string, unknown>) };
  if (spec.working_dir !== undefined && isLocalPath(spec.working_dir)) {
    const path = relative(folder, resolve(base, spec.working_dir));
    written.working_dir = path.startsWith("..") ? path : `./${path}`;
  }
  return {
    spec: { ...spec, ...(written.working_dir === undefined ? {} : { working_dir: written.working_dir as string }) },
    written,
    notices,
  };
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const rule =
      (error as NodeJS.ErrnoException).code === "ENOENT"
        ? "is not there"
        : `cannot be read: ${(error as Error).message}`;
    throw new InvalidInput(
      [{ path: "--file", value: file, rule, remedy: "give the path of a service YAML" }],
      "command line",
    );
  }
}
