import assert from "node:assert/strict";
import { InvalidInput, type Problem } from "../../components/problems";
import { parseServiceSpec } from "../../components/serviceSpec";

export const application = { import_path: "app:app" };

export function service(changes: object = {}): object {
  return { name: "sample-service", applications: [application], ...changes };
}

export function withDeployment(deployment: object): object {
  return service({ applications: [{ ...application, deployments: [{ name: "Model", ...deployment }] }] });
}

export function problemsOf(value: unknown): Problem[] {
  try {
    parseServiceSpec(value);
  } catch (error) {
    assert.ok(InvalidInput.isInstance(error), String(error));
    return error.problems;
  }
  return [];
}

/** The only problem of a service, as the line that the user sees. */
export function onlyProblem(value: unknown): string {
  const problems = problemsOf(value);
  assert.equal(problems.length, 1, JSON.stringify(problems));
  return new InvalidInput(problems).message.split("\n")[1]!.trim();
}
