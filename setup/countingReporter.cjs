const { writeFileSync } = require("node:fs");
const { reporters } = require("mocha");

/** Mocha's own report, and the numbers of it in the file that RAYSHIFT_TEST_COUNTS names. */
module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once("end", () => {
      const { passes, failures } = this.stats;
      writeFileSync(process.env.RAYSHIFT_TEST_COUNTS, JSON.stringify({ passes, failures }));
    });
  }
};
