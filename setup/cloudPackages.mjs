import { rmSync } from "node:fs";
import { join } from "node:path";
import { findPython, isExecutable } from "./checks.mjs";
import { onInterrupt } from "./child.mjs";
import { replaceFile } from "./environment.mjs";
import { digestOf, install, pythonOf, readStamp, stampOf } from "./pythonPackages.mjs";

/** A fake of AWS's API and a checker of shell scripts, for the tests of the clouds alone. */
export const cloudPackages = {
  title: "Fakes of clouds",
  expected: "a Python environment of about 100 MB for tests, takes about half a minute",
  async inPlace({ root, home, platform }) {
    if (platform !== "linux") return { detail: "nothing: the tests of the clouds run on Linux only" };
    const venv = join(home, "clouds");
    const python = pythonOf(venv);
    if (readStamp(venv)?.requirements !== digestOf(requirementsOf(root)) || !isExecutable(python)) return undefined;
    return { detail: `moto in ${venv}`, toolchain: { cloudsPython: python } };
  },
  async prepare({ env }) {
    await findPython(env);
  },
  async perform({ root, home, env }, note) {
    const basePython = await findPython(env);
    const venv = join(home, "clouds");
    const remove = () => rmSync(venv, { recursive: true, force: true });
    remove();
    const done = onInterrupt(remove);
    try {
      await install(requirementsOf(root), venv, basePython, env, note);
      replaceFile(stampOf(venv), JSON.stringify({ requirements: digestOf(requirementsOf(root)) }));
      return {
        detail: `moto with Python ${basePython.version} in ${venv}`,
        toolchain: { cloudsPython: pythonOf(venv) },
      };
    } finally {
      done();
    }
  },
};

const requirementsOf = (root) => join(root, "setup", "clouds", "requirements.txt");
