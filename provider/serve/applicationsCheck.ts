import type { CheckFailure } from "../resource";
import type { ApplicationsInputs } from "./applications";
import { applicationName } from "./config";

/** All problems of the inputs that can be seen without a cluster. What is unknown in a preview is absent. */
export function checkApplications(inputs: Partial<ApplicationsInputs>): CheckFailure[] {
  const { capacity, timeoutSeconds, surge, dashboardUrl } = inputs;
  const failures: CheckFailure[] = [];
  const fail = (property: string, reason: string) => failures.push({ property, reason });
  if (capacity !== undefined && !(Number.isInteger(capacity) && capacity >= 0 && capacity <= 100)) {
    fail("capacity", `a whole percent from 0 to 100, got ${capacity}; leave it out for 100 % without bounds`);
  }
  if (timeoutSeconds !== undefined && !(timeoutSeconds > 0)) {
    fail("timeoutSeconds", `seconds above 0, got ${timeoutSeconds}`);
  }
  if (surge?.maxTotalCapacity !== undefined && !(surge.maxTotalCapacity >= 100 && surge.maxTotalCapacity <= 200)) {
    fail("surge", `maxTotalCapacity is 100 plus the surge, from 100 to 200 percent, got ${surge.maxTotalCapacity}`);
  }
  if (dashboardUrl !== undefined && !URL.canParse(dashboardUrl)) {
    fail("dashboardUrl", `a URL such as http://127.0.0.1:8265, got ${JSON.stringify(dashboardUrl)}`);
  }
  return [...failures, ...checkConfig(inputs.config)];
}

function checkConfig(config: Partial<ApplicationsInputs["config"]> | undefined): CheckFailure[] {
  if (config === undefined) return [];
  const failures: CheckFailure[] = [];
  const fail = (reason: string) => failures.push({ property: "config", reason });
  if ("target_capacity" in config) fail("target_capacity is not part of it; set the resource's capacity instead");
  if (config.applications === undefined) return failures;
  if (config.applications.length === 0) fail("it needs at least one application; delete the resource to run none");
  const names = config.applications.map(applicationName);
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index));
  for (const name of twice) fail(`application ${name} is there more than once; give each its own name`);
  return failures;
}
