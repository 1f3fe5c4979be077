import { LEVELS, type Level, prepareBeds, startBed } from "./bed";

/**
 * `node main.js build`: builds what beds need and the cache does not have.
 * `node main.js api|kwok|gateway|full`: a bed until this is interrupted; the kubeconfig's path on standard output.
 */
async function main(word = "kwok"): Promise<void> {
  if (word === "build") return await prepareBeds();
  if (!(LEVELS as readonly string[]).includes(word)) {
    throw new Error(`there is no level ${word}: build, ${LEVELS.join(", ")}`);
  }
  const startedAt = Date.now();
  const bed = await startBed(word as Level);
  process.stdout.write(`${bed.kubeconfig}\n`);
  process.stderr.write(`the bed is ready after ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
}

main(process.argv[2]).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
