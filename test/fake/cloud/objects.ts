import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

export type Bag = Record<string, unknown>;

/** An object of the fake cloud. */
export interface CloudObject {
  /** Pulumi's type: `aws:lb/targetGroup:TargetGroup`. */
  type: string;
  /** Pulumi's logical name. */
  name: string;
  id: string;
  /** Plain, secrets too. */
  inputs: Bag;
  /** Inputs, and what the cloud adds to them. */
  outputs: Bag;
}

/** One change of the fake cloud, in the order in which they took place. */
export interface Operation {
  operation: "create" | "update" | "delete";
  type: string;
  name: string;
  inputs: Bag;
}

/** The objects of a fake cloud: a file each in a folder, so that those who look at them may be other processes. */
export class CloudObjects {
  constructor(readonly folder: string) {
    mkdirSync(join(folder, "objects"), { recursive: true });
  }

  all(): CloudObject[] {
    return readdirSync(join(this.folder, "objects"))
      .filter((file) => file.endsWith(".json"))
      .flatMap((file) => this.read(join(this.folder, "objects", file)) ?? []);
  }

  ofType(type: string): CloudObject[] {
    return this.all().filter((object) => object.type === type);
  }

  get(type: string, id: string): CloudObject | undefined {
    return this.read(this.fileOf({ type, id }));
  }

  put(object: CloudObject, operation: "create" | "update"): void {
    const file = this.fileOf(object);
    writeFileSync(`${file}.part`, JSON.stringify(object));
    renameSync(`${file}.part`, file);
    this.note(operation, object);
  }

  delete(object: CloudObject): void {
    rmSync(this.fileOf(object));
    this.note("delete", object);
  }

  /** Everything that was changed so far. */
  operations(): Operation[] {
    const file = join(this.folder, "operations.jsonl");
    if (!existsSync(file)) return [];
    return readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Operation);
  }

  private note(operation: Operation["operation"], { type, name, inputs }: CloudObject): void {
    const line = JSON.stringify({ operation, type, name, inputs } satisfies Operation);
    appendFileSync(join(this.folder, "operations.jsonl"), `${line}\n`);
  }

  private fileOf({ type, id }: Pick<CloudObject, "type" | "id">): string {
    return join(this.folder, "objects", `${encodeURIComponent(`${type} ${id}`)}.json`);
  }

  private read(file: string): CloudObject | undefined {
    try {
      return JSON.parse(readFileSync(file, "utf8")) as CloudObject;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
}

/** All texts in a value, at any depth. */
export function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}
