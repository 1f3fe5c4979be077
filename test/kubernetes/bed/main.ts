import { type Level, startBed } from "./bed";

/** `node main.js api|kwok`: a bed until this is interrupted; the kubeconfig's path on standard output. */
async function main(level = "kwok"): Promise<void> {
  if (level !== "api" && level !== "kwok") throw new Error(`there is no level ${level}: api or kwok`);
  const startedAt = Date.now();
  const bed = await startBed(level satisfies Level);
  process.stdout.write(`${bed.kubeconfig}\n`);
  process.stderr.write(`the bed is ready after ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
}

main(process.argv[2]).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
