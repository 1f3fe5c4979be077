// A program of its own, so that set-up can end it when the vendor's site does not answer: node installPulumi.mjs FOLDER VERSION
import { createRequire } from "node:module";

const [root, version] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const { SemVer } = createRequire(require.resolve("@pulumi/pulumi"))("semver");
const { PulumiCommand } = require("@pulumi/pulumi/automation");
try {
  await PulumiCommand.install({ root, version: new SemVer(version) });
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
