import { distance } from "fastest-levenshtein";
import { z } from "zod";

/** One thing that is wrong with an input: where, which value, the rule it breaks and what to do about it. */
export interface Problem {
  /** For example `applications[0].import_path`, `rayshift:maxSurgePercent` or `--max-surge-percent`. */
  path: string;
  /** Absent for missing values and wherever a secret may be. */
  value?: unknown;
  rule: string;
  remedy: string;
}

/** An input that is refused before anything changes. The message lists all its problems. */
export class InvalidInput extends Error {
  override readonly name = "InvalidInput";

  /** @param what - names the input in the message: "service", "stack config", "command line" */
  constructor(
    readonly problems: Problem[],
    readonly what = "input",
  ) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(
      [`invalid ${what}, ${count}; nothing was changed:`, ...problems.map((problem) => line(problem, what))].join("\n"),
    );
  }

  static isInstance(error: unknown): error is InvalidInput {
    return error instanceof Error && error.name === "InvalidInput";
  }
}

/** Collects the problems of inputs that are checked one after the other, so that one error tells them all. */
export class ProblemList {
  private readonly errors: InvalidInput[] = [];

  /** What the check gives, or undefined after noting its problems, but for those that `known` says are told already. */
  of<T>(check: () => T, known: (problem: Problem) => boolean = () => false): T | undefined {
    try {
      return check();
    } catch (error) {
      this.note(error, known);
      return undefined;
    }
  }

  async later<T>(checked: Promise<T>): Promise<T | undefined> {
    return checked.catch((error: unknown) => {
      this.note(error, () => false);
      return undefined;
    });
  }

  /** Throws what was noted: an input alone under its own name. */
  throwAny(): void {
    const [only, ...more] = this.errors;
    if (only === undefined) return;
    throw more.length === 0 ? only : new InvalidInput(this.errors.flatMap(({ problems }) => problems));
  }

  private note(error: unknown, known: (problem: Problem) => boolean): void {
    if (!InvalidInput.isInstance(error)) throw error;
    const problems = error.problems.filter((problem) => !known(problem));
    if (problems.length > 0) this.errors.push(new InvalidInput(problems, error.what));
  }
}

function line({ path, value, rule, remedy }: Problem, what: string): string {
  const shown = value === undefined ? "" : `${abbreviated(JSON.stringify(value))} `;
  return `  - ${path === "" ? what : path}: ${shown}${rule}; ${remedy}`;
}

function abbreviated(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The same problems of a value that is a part of something else. */
export function under(prefix: string, problems: Problem[]): Problem[] {
  return problems.map((problem) => {
    const separator = problem.path === "" || problem.path.startsWith("[") || prefix.endsWith(":") ? "" : ".";
    return { ...problem, path: `${prefix}${separator}${problem.path}` };
  });
}

/** `["applications", 0, "name"]` as `applications[0].name`. */
export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? String(part) : `${text}.${String(part)}`;
  }, "");
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The known name that is nearest to one that is not known, and how many letters are between them. */
export function nearest(name: string, known: readonly string[]): { name: string; letters: number } | undefined {
  return known
    .map((candidate) => ({ name: candidate, letters: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .reduce<{ name: string; letters: number } | undefined>(
      (best, candidate) => (best === undefined || candidate.letters < best.letters ? candidate : best),
      undefined,
    );
}

/** "did you mean `x`?", or all the known names when none is like it. */
export function didYouMean(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined && near.letters <= Math.max(2, name.length / 2)) return `did you mean \`${near.name}\`?`;
  return `take it out, or use one of ${known.map((candidate) => `\`${candidate}\``).join(", ")}`;
}

const words = z.registry<{ rule: string; remedy: string }>();

/** Gives a schema the words that its problems are reported in, whichever of its checks failed. */
export function worded<Schema extends z.ZodType>(schema: Schema, rule: string, remedy: string): Schema {
  words.add(schema, { rule, remedy });
  return schema;
}

/** A key that is understood only to be refused with a remedy. */
export function refused(rule: string, remedy: string) {
  return worded(z.never(), rule, remedy).optional();
}

/** Reports a problem at a path below the value that is checked. */
export type Report = (path: PropertyKey[], rule: string, remedy: string) => void;

/**
 * Adds a check over several keys of an object. It runs even when single keys have problems, so that one error lists
 * everything: the check must take values of any shape.
 */
export function checked<Schema extends z.ZodType>(
  schema: Schema,
  check: (value: Record<string, unknown>, report: Report) => void,
): Schema {
  return schema.superRefine(
    (value, context) =>
      check(value as Record<string, unknown>, (path, rule, remedy) =>
        context.addIssue({ code: "custom", path, message: rule, params: { rule, remedy } }),
      ),
    { when: ({ value }) => isMapping(value) },
  );
}

/** The value as the schema makes it, or all its problems. */
export function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): { value: z.output<Schema>; problems?: never } | { value?: never; problems: Problem[] } {
  const result = schema.safeParse(value);
  return result.success ? { value: result.data } : { problems: problemsOf(result.error, schema, value) };
}

/** The problems that a zod error stands for, in the words of the schema, with values from the input. */
export function problemsOf(error: z.ZodError, schema: z.ZodType, input: unknown): Problem[] {
  const problems = error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(find(schema, issue.path).schema);
      return issue.keys.map((key) => unknownKey([...issue.path, key], known));
    }
    return [problemOf(issue, schema, input)];
  });
  const seen = new Set<string>();
  return problems.filter(({ path, rule }) => {
    const key = `${path}\n${rule}`;
    return seen.has(key) ? false : seen.add(key);
  });
}

function unknownKey(path: PropertyKey[], known: string[]): Problem {
  const key = String(path.at(-1));
  return { path: pathText(path), rule: `unknown key \`${key}\``, remedy: didYouMean(key, known) };
}

function problemOf(issue: z.core.$ZodIssue, schema: z.ZodType, input: unknown): Problem {
  const value = valueAt(input, issue.path);
  const { rule, remedy } =
    (issue.code === "custom" ? (issue.params as { rule: string; remedy: string } | undefined) : undefined) ??
    find(schema, issue.path).words ??
    plainWords(issue, value);
  const problem = { path: pathText(issue.path), rule, remedy };
  if (value === undefined && issue.code !== "custom") return { ...problem, rule: `is missing: it ${rule}` };
  return isShowable(issue.path, value) ? { ...problem, value } : problem;
}

const secretKeys = new Set(["env_vars", "user_config", "args", "runtime_env"]);

function isShowable(path: readonly PropertyKey[], value: unknown): boolean {
  if (!["string", "number", "boolean"].includes(typeof value) || path.length === 0) return false;
  return !path.some((part) => secretKeys.has(String(part)) || /token|password|secret|credential/i.test(String(part)));
}

const kinds: Record<string, string> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
};

function plainWords(issue: z.core.$ZodIssue, value: unknown): { rule: string; remedy: string } {
  switch (issue.code) {
    case "invalid_type": {
      const kind = kinds[issue.expected] ?? `of type ${issue.expected}`;
      const quoted = issue.expected === "string" && (typeof value === "number" || typeof value === "boolean");
      return { rule: `must be ${kind}`, remedy: quoted ? "put it in quotes" : `write ${kind} here` };
    }
    case "invalid_value": {
      const values = issue.values.map(String);
      const remedy = value === undefined ? "add it" : didYouMean(String(value), values);
      return { rule: `must be one of ${values.join(", ")}`, remedy };
    }
    case "too_small":
      return issue.origin === "string" || issue.origin === "array"
        ? { rule: "must not be empty", remedy: "fill it in, or leave the key out" }
        : { rule: bound(issue.inclusive, "at least", "more than", issue.minimum), remedy: "give a larger number" };
    case "too_big":
      return { rule: bound(issue.inclusive, "at most", "less than", issue.maximum), remedy: "give a smaller number" };
    default:
      return { rule: `has the wrong form (${issue.message})`, remedy: "correct it" };
  }
}

function bound(inclusive: boolean | undefined, closed: string, open: string, limit: number | bigint): string {
  return `must be ${inclusive === false ? open : closed} ${limit}`;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => (value as Record<PropertyKey, unknown> | undefined)?.[part], input);
}

interface Found {
  schema?: z.ZodType;
  words?: { rule: string; remedy: string };
}

/** The schema that a path leads to, and its words. */
function find(schema: z.ZodType, path: readonly PropertyKey[]): Found {
  return path.reduce<Found>(
    (found, part) => (found.schema === undefined ? {} : unwrap(below(found.schema, part))),
    unwrap(schema),
  );
}

function below(schema: z.ZodType, part: PropertyKey): z.ZodType | undefined {
  if (schema instanceof z.ZodObject) return schema.shape[part as string] as z.ZodType | undefined;
  if (schema instanceof z.ZodArray) return schema.element as z.ZodType;
  if (schema instanceof z.ZodRecord) return schema.valueType as z.ZodType;
  return undefined;
}

function unwrap(schema: z.ZodType | undefined): Found {
  let inner = schema;
  let found: { rule: string; remedy: string } | undefined;
  while (inner !== undefined) {
    found ??= words.get(inner);
    if (inner instanceof z.ZodPipe) inner = (inner.in instanceof z.ZodTransform ? inner.out : inner.in) as z.ZodType;
    else if ("unwrap" in inner && !(inner instanceof z.ZodArray)) inner = (inner as z.ZodOptional<z.ZodType>).unwrap();
    else break;
  }
  return { ...(inner === undefined ? {} : { schema: inner }), ...(found === undefined ? {} : { words: found }) };
}

/** The keys of an object schema, apart from those that it refuses. */
function knownKeys(schema: z.ZodType | undefined): string[] {
  if (!(schema instanceof z.ZodObject)) return [];
  return Object.keys(schema.shape).filter(
    (key) => !(unwrap(schema.shape[key] as z.ZodType).schema instanceof z.ZodNever),
  );
}

/**
 * An object whose schema is somebody else's: keys that are not known pass, unless they look like a slip of the pen for
 * one that is (at most two letters off).
 */
export function foreignObject<Shape extends z.ZodRawShape>(shape: Shape) {
  const object = z.looseObject(shape);
  const known = knownKeys(object);
  return object.superRefine(
    (value, context) => {
      const slips = Object.keys(value).filter(
        (key) => !(key in shape) && (nearest(key, known)?.letters ?? Infinity) <= 2,
      );
      if (slips.length > 0) context.addIssue({ code: "unrecognized_keys", keys: slips, input: value });
    },
    { when: ({ value }) => isMapping(value) },
  );
}

/** Paths of the keys that passed through objects with a foreign schema without being known. */
export function passedThrough(schema: z.ZodType, value: unknown, path: PropertyKey[] = []): string[] {
  const { schema: inner } = unwrap(schema);
  if (Array.isArray(value) && inner instanceof z.ZodArray) {
    return value.flatMap((item, index) => passedThrough(inner.element as z.ZodType, item, [...path, index]));
  }
  if (!isMapping(value) || !(inner instanceof z.ZodObject)) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    const schemaOfKey = inner.shape[key] as z.ZodType | undefined;
    return schemaOfKey === undefined ? [pathText([...path, key])] : passedThrough(schemaOfKey, item, [...path, key]);
  });
}
