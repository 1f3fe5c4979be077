import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { runHelper } from "./child.mjs";
import { SetupError } from "./progress.mjs";

const leastNode = "20.19";
const leastPython = "3.10";
/** The newest Python the pinned packages have wheels for. */
const newestPython = "3.14";

/** Whether dotted version `version` is `least` or newer; a part that is missing counts as 0. */
export function isAtLeast(version, least) {
  const [left, right] = [version, least].map((text) => text.split(".").map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** @param {string} version of the Node that runs us, without "v" */
export function checkNode(version) {
  if (isAtLeast(version, leastNode)) return;
  throw new SetupError(`Node ${version} is too old`, {
    remedy: `install Node ${leastNode} or newer and run set-up with it`,
    exitCode: 2,
  });
}

/** The executable file `name` in the folders of `path`; undefined when there is none. */
export function findOnPath(name, path = "") {
  return path
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

const describePython =
  "import importlib.util as u, platform, sys; " +
  "print(platform.python_version(), sys.executable, all(u.find_spec(m) for m in ('venv', 'ensurepip')), sep='\\n')";

/**
 * The Python that the virtual environment is made from: the one named by RAYSHIFT_BASE_PYTHON, else the first suitable on PATH.
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{executable: string, version: string}>}
 */
export async function findPython(env) {
  const chosen = env.RAYSHIFT_BASE_PYTHON;
  const names = chosen ? [chosen] : ["python3", "python3.13", "python3.12", "python3.11", "python3.10"];
  const needsPip = findOnPath("uv", env.PATH) === undefined;
  const found = [];
  for (const name of names) {
    const command = name.includes("/") ? name : findOnPath(name, env.PATH);
    if (command === undefined || !isExecutable(command)) continue;
    const output = await runHelper(command, ["-I", "-c", describePython], {
      env,
      timeoutSeconds: 20,
      remedy: "",
    }).catch(() => "");
    const [version, executable, venv] = output.trim().split("\n");
    if (executable === undefined) continue;
    const problem = pythonProblem(version, needsPip && venv !== "True");
    if (problem === undefined) return { executable, version };
    found.push(`${command} ${problem}`);
  }
  const what = chosen ? `RAYSHIFT_BASE_PYTHON is ${chosen}` : "looked for python3 on PATH";
  throw new SetupError(
    `no Python from ${leastPython} to ${newestPython} was found (${[what, ...found].join("; ")}), and the local target runs Ray in it`,
    {
      remedy: `install Python ${leastPython} or newer, or set RAYSHIFT_BASE_PYTHON to one, then run this again; nothing was changed`,
      exitCode: 2,
    },
  );
}

/** What keeps a Python from being used; undefined when nothing does. */
export function pythonProblem(version, venvIsMissing) {
  const release = version.split(".").slice(0, 2).join(".");
  if (!isAtLeast(release, leastPython)) return `is ${version}, too old`;
  if (!isAtLeast(newestPython, release)) return `is ${version}, which the pinned Ray does not support yet`;
  if (venvIsMissing)
    return `is ${version} without its venv and pip modules (the package python3-venv on Debian and Ubuntu)`;
  return undefined;
}

/** The version in the output of `go version`, such as "1.26.1"; undefined when there is none. */
export function goVersion(output) {
  return /\bgo(\d+(?:\.\d+){1,2})/.exec(output)?.[1];
}
