import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { InvalidInput, nearest, type Problem } from "../problems";
import type { RolloutRecord, Version } from "../record";
import type { LocalHost } from "./host";

const script = join(__dirname, "..", "..", "..", "provider", "local", "python", "rayshift_imports.py");

/**
 * Finds what on this host stands in the way of an update before anything changes.
 *
 * @throws InvalidInput with all the problems
 */
export async function preflight(
  host: LocalHost,
  wanted: Version,
  recorded: Pick<RolloutRecord, "primary" | "canary"> | undefined,
  port: number | undefined,
): Promise<void> {
  const running = [recorded?.primary, recorded?.canary].some((version) => version?.digest === wanted.digest);
  const problems = [
    ...(running ? [] : await importProblems(host, wanted)),
    ...(recorded === undefined ? await portProblems(port) : []),
  ];
  if (problems.length > 0) throw new InvalidInput(problems);
}

/** Import paths of a new version that lead nowhere. */
async function importProblems({ python }: LocalHost, { spec, workingDirectory }: Version): Promise<Problem[]> {
  // Modules that a runtime environment brings are only there when it is made.
  const own = spec.applications.filter(({ runtime_env: environment }) => environment === undefined);
  if (spec.requirements !== undefined || spec.py_modules !== undefined || own.length === 0) return [];
  const question = {
    folder: workingDirectory?.source ?? null,
    imports: own.map((application) => application.import_path),
  };
  const answer = await runPython(python, JSON.stringify(question));
  const wrong = JSON.parse(answer) as Array<{ import_path: string; rule: string; known: string[] }>;
  return wrong.map(({ import_path: value, rule, known }) => {
    const near = nearest(value.split(/[:.]/).at(-1) ?? value, known);
    return {
      path: `applications[${spec.applications.findIndex((application) => application.import_path === value)}].import_path`,
      value,
      rule: `leads nowhere: ${rule}`,
      remedy: `${near === undefined ? "" : `did you mean \`${near.name}\`? `}give module:attribute of a bound application, below \`working_dir\``,
    };
  });
}

/** The problem of a port that something else listens on. */
async function portProblems(port: number | undefined): Promise<Problem[]> {
  if (port === undefined || (await isFree(port))) return [];
  const remedy = "end what listens there (`ss -ltnp` shows it), give another port, or leave it out to have one chosen";
  return [{ path: "rayshift:port", value: port, rule: "is in use on 127.0.0.1", remedy }];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

function runPython(python: string, input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(python, ["-I", script], { stdio: ["pipe", "pipe", "pipe"] });
    let [out, errors] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0
        ? resolve(out)
        : reject(new Error(`${python} cannot say whether the import paths exist: ${errors.trim()}`)),
    );
    child.stdin.on("error", () => {}).end(input);
  });
}
