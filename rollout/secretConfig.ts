import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMap, parseDocument } from "yaml";
import { Refused } from "./errors";
import type { Project } from "./project";
import { cliMissing, failureOf } from "./pulumi";

/**
 * Values of the stack's config that are encrypted: the CLI has the keys. Clear text is only in memory and in pipes to
 * the CLI, never in arguments or files. Each call blocks for as long as the CLI takes, about half a second.
 */
export class SecretConfig {
  /** What was decrypted last, and the encrypted values that it was made of. */
  private last: { of: string; values: Record<string, string> } | undefined;

  constructor(
    private readonly project: Project,
    private readonly environment: NodeJS.ProcessEnv,
  ) {}

  /**
   * All values of the stack's config by full key, as an update's program gets them.
   *
   * @param encrypted what the file holds; the CLI is asked again only when it changed
   * @throws Refused without the stack or its passphrase
   */
  decrypted(encrypted: unknown): Record<string, string> {
    const of = JSON.stringify(encrypted);
    if (this.last?.of !== of) {
      const printed = this.run("reading the stack's config", ["config", "--json", "--show-secrets"]);
      const values = JSON.parse(printed) as Record<string, { value?: string }>;
      this.last = {
        of,
        values: Object.fromEntries(Object.entries(values).map(([key, { value = "" }]) => [key, value])),
      };
    }
    return this.last.values;
  }

  /**
   * The value as it goes into the file.
   *
   * @param fileText the config file, by whose salt or key it is encrypted
   */
  encrypted(key: string, value: string, fileText: string): { secure: string } {
    // The CLI writes into a copy: the file itself is replaced whole, together with what else changes in it.
    const folder = mkdtempSync(join(tmpdir(), "rayshift-config-"));
    try {
      const copy = join(folder, "config.yaml");
      const document = parseDocument(fileText);
      document.delete("config");
      writeFileSync(copy, document.toString(), { mode: 0o600 });
      this.run("encrypting the service", ["config", "set", key, "--secret", "--config-file", copy], value);
      const node = parseDocument(readFileSync(copy, "utf8")).getIn(["config", key]);
      const secure = isMap(node) ? node.get("secure") : undefined;
      if (typeof secure !== "string") throw new Error("the Pulumi CLI did not encrypt a config value as expected");
      return { secure };
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  private run(what: string, args: readonly string[], input = ""): string {
    const { stack, folder } = this.project;
    const all = [...args, "--stack", stack, "--non-interactive", "--color", "never"];
    const options = { cwd: folder, env: this.environment, input, encoding: "utf8", maxBuffer: 1 << 26 } as const;
    const { error, status, stdout, stderr } = spawnSync("pulumi", all, options);
    if ((error as NodeJS.ErrnoException | undefined)?.code === "ENOENT") throw cliMissing();
    if (error !== undefined) throw error;
    if (status === 0) return stdout;
    if (/no stack named/.test(stderr)) {
      throw new Refused(
        `the service in the stack's config is encrypted, and stack ${stack}, which has the key, is not there. Run ` +
          `\`pulumi stack init ${stack}\` with the passphrase that it was encrypted by, and then the same command again. ` +
          "Nothing was changed.",
      );
    }
    throw failureOf(what, { code: status ?? -1, stdout: "", stderr });
  }
}

/** Whether a value of the file is encrypted, or anything in it is. */
export function hasSecrets(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(hasSecrets);
  const { secure, ...others } = value as Record<string, unknown>;
  return (typeof secure === "string" && Object.keys(others).length === 0) || Object.values(value).some(hasSecrets);
}
