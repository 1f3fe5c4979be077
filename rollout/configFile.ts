import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { type Document, isMap, parseDocument } from "yaml";
import { InvalidInput } from "../components/problems";
import { effectNow } from "../provider/effects";
import type { Project } from "./project";
import { hasSecrets, SecretConfig } from "./secretConfig";

/**
 * The stack's config file. Edits keep comments and the order of keys, and take effect whole or not at all: the file is
 * replaced by a rename. A value that is encrypted, whole or in part, is read in clear and stays encrypted.
 */
export class ConfigFile {
  private readonly secrets: SecretConfig;

  /** @param environment of the CLI, which is asked for what is encrypted */
  constructor(
    private readonly project: Project,
    environment: NodeJS.ProcessEnv = process.env,
  ) {
    this.secrets = new SecretConfig(project, environment);
  }

  /** The values of the project's namespace by bare key, as an update's program gets them: objects as JSON text. */
  read(): Record<string, string> {
    const prefix = `${this.project.name}:`;
    return Object.fromEntries(
      Object.entries(configOf(this.load()))
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, value]) => [key.slice(prefix.length), this.clear(key, value)]),
    );
  }

  /** The file as it is now; undefined when there is none. */
  text(): string | undefined {
    const { configFile } = this.project;
    return existsSync(configFile) ? readFileSync(configFile, "utf8") : undefined;
  }

  /** Puts back what {@link text} gave. */
  restore(text: string | undefined): void {
    if (text !== undefined && text !== this.text()) this.write(text);
  }

  /**
   * Sets keys, and removes those whose value is undefined. Does nothing where the file says so already. A value that takes
   * the place of an encrypted one is encrypted.
   */
  edit(values: Record<string, unknown>): void {
    const document = this.load();
    const before = textOf(document);
    for (const [key, value] of Object.entries(values)) {
      const name = `${this.project.name}:${key}`;
      const path = ["config", name];
      const present = configOf(document)[name];
      if (value === undefined) document.deleteIn(path);
      else if (hasSecrets(present)) {
        if (isDeepStrictEqual(parsed(this.clear(name, present)), parsed(textOfValue(value)))) continue;
        document.setIn(path, document.createNode(this.secrets.encrypted(name, textOfValue(value), before)));
      }
      // A plain value goes into the node that is there, which keeps the comment beside it.
      else if (JSON.stringify(document.getIn(path)) !== JSON.stringify(value)) {
        document.setIn(path, typeof value === "object" ? document.createNode(value) : value);
      }
    }
    const after = textOf(document);
    if (after === before) return;
    this.write(after);
  }

  private clear(key: string, value: unknown): string {
    if (!hasSecrets(value)) return textOfValue(value);
    return this.secrets.decrypted(configOf(this.load()))[key] ?? "";
  }

  private write(text: string): void {
    const { configFile } = this.project;
    // Always the same name: what a killed command left goes with the next edit. Only one command edits at a time.
    const temporary = `${configFile}.tmp`;
    // Who may read the file stays as the user set it.
    const mode = existsSync(configFile) ? statSync(configFile).mode & 0o777 : 0o644;
    writeFileSync(temporary, text, { mode });
    effectNow("write the stack's config", configFile, () => renameSync(temporary, configFile));
  }

  private load(): Document {
    const { configFile } = this.project;
    const document: Document = parseDocument(existsSync(configFile) ? readFileSync(configFile, "utf8") : "", {
      // The CLI reads YAML 1.1: text that it would take for a time or a truth value has to be quoted.
      compat: "yaml-1.1",
    });
    document.contents ??= document.createNode({});
    const config = isMap(document.contents) ? (document.get("config") ?? undefined) : "none";
    const rules = document.errors.map(({ message }) => message.split("\n")[0]!);
    if (rules.length === 0 && config !== undefined && !isMap(config))
      rules.push("is not a mapping with a mapping `config`");
    if (rules.length > 0) {
      const problems = rules.map((rule) => ({ path: configFile, rule, remedy: "correct the file" }));
      throw new InvalidInput(problems, "stack config");
    }
    // An empty mapping is written as {}, and what is put into one would go between its braces.
    if (!isMap(config) || config.items.length === 0) document.set("config", document.createNode({}));
    return document;
  }
}

/** Long values stay on their lines. */
const textOf = (document: Document) => document.toString({ lineWidth: 0 });

const textOfValue = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

function configOf(document: Document): Record<string, unknown> {
  return (document.toJS() as { config?: Record<string, unknown> } | null)?.config ?? {};
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
