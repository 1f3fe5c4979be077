import { isDeepStrictEqual } from "node:util";
import { type Bag, type CloudObject, type CloudObjects, textsIn } from "./objects";

/** What a cloud has for all types, as far as the tests need it. */
export interface CloudRules {
  /** Of the real plugin. */
  version: string;
  /** Inputs that cannot change in place, by type. */
  replacing: Record<string, readonly string[]>;
  /** The id, and the outputs that the cloud makes up. The same for the same object at every call; `before`: at an update. */
  learned(object: Omit<CloudObject, "id" | "outputs">, before: CloudObject | undefined): { id: string; outputs: Bag };
  /** Why the cloud would refuse an object, in its words. */
  refusal(object: Omit<CloudObject, "id" | "outputs">, all: readonly CloudObject[]): string | undefined;
  /** How it calls the refusal to delete what is referred to. */
  inUse?: string;
  /** Outputs by which other objects refer to one. */
  references: readonly string[];
  /** Whether a reference is one that this cloud made up, so that what it names has to be there. */
  isReference(text: string): boolean;
}

/** The cloud's side of each operation: it keeps objects and refuses what would leave a reference to nothing. */
export class FakeCloudApi {
  constructor(
    private readonly objects: CloudObjects,
    private readonly rules: CloudRules,
  ) {}

  create(type: string, name: string, inputs: Bag): CloudObject {
    const { id, outputs } = this.rules.learned({ type, name, inputs }, undefined);
    if (this.objects.get(type, id) !== undefined) throw new Error(`${type} ${id} exists already`);
    return this.put({ type, name, id, inputs, outputs: { ...inputs, ...outputs } }, "create");
  }

  update(type: string, name: string, id: string, inputs: Bag): CloudObject {
    const before = this.required(type, id);
    const { outputs } = this.rules.learned({ type, name, inputs }, before);
    return this.put({ type, name, id, inputs, outputs: { ...inputs, ...outputs } }, "update");
  }

  read(type: string, id: string): CloudObject | undefined {
    return this.objects.get(type, id);
  }

  delete(type: string, id: string): void {
    const object = this.objects.get(type, id);
    if (object === undefined) return;
    const own = this.referencesTo(object);
    const user = this.objects.all().find((other) => {
      return !(other.type === type && other.id === id) && textsIn(other.inputs).some((text) => own.includes(text));
    });
    if (user !== undefined) {
      throw new Error(`${type} ${id} is in use by ${user.type} ${user.id} (${this.rules.inUse ?? "ResourceInUse"})`);
    }
    this.objects.delete(object);
  }

  /** Names of inputs that differ and cannot change in place, and whether anything differs. */
  difference(type: string, before: Bag, after: Bag): { changes: boolean; replaces: string[] } {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    const changed = keys.filter((key) => !isDeepStrictEqual(before[key], after[key]));
    const replacing = this.rules.replacing[type] ?? [];
    return { changes: changed.length > 0, replaces: changed.filter((key) => replacing.includes(key)) };
  }

  private put(object: CloudObject, operation: "create" | "update"): CloudObject {
    const all = this.objects.all();
    const there = new Set(all.flatMap((each) => this.referencesTo(each)));
    const missing = textsIn(object.inputs).find((text) => this.rules.isReference(text) && !there.has(text));
    if (missing !== undefined)
      throw new Error(`${object.type} ${object.name} refers to ${missing}, which is not there`);
    const refusal = this.rules.refusal(object, all);
    if (refusal !== undefined) throw new Error(`${object.type} ${object.name}: ${refusal}`);
    this.objects.put(object, operation);
    return object;
  }

  private required(type: string, id: string): CloudObject {
    const object = this.objects.get(type, id);
    if (object === undefined) throw new Error(`${type} ${id} is not there`);
    return object;
  }

  private referencesTo({ id, inputs, outputs }: CloudObject): string[] {
    const own = this.rules.references.filter((name) => !(name in inputs));
    const texts = own.map((name) => outputs[name]).filter((value) => typeof value === "string");
    return [id, ...texts].filter((text) => this.rules.isReference(text));
  }
}
