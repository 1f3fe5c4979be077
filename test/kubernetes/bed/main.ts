import { prepareBeds, startBed } from "./bed";

/**
 * `node main.js build`: builds what beds need and the cache does not have.
 * `node main.js api|kwok|gateway`: a bed until this is interrupted; the kubeconfig's path on standard output.
 */
async function main(word = "kwok"): Promise<void> {
  if (word === "build") return await prepareBeds();
  if (word !== "api" && word !== "kwok" && word !== "gateway") {
    throw new Error(`there is no level ${word}: build, api, kwok or gateway`);
  }
  const startedAt = Date.now();
  const bed = await startBed(word);
  process.stdout.write(`${bed.kubeconfig}\n`);
  process.stderr.write(`the bed is ready after ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
}

main(process.argv[2]).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
