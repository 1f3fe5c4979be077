import assert from "node:assert/strict";
import { verify } from "../../rollout/verify";
import { Scenario } from "./scenario";

describe("verify, on this host", function () {
  this.timeout(300_000);
  const versions = ["verify-1", "verify-2", "verify-3"];
  let service: Scenario;
  before(() => {
    service = new Scenario(versions);
  });
  after(() => service.end());

  it("tries out a first deploy, a hold, a completion, a rollback and the end, and leaves nothing", async () => {
    const { folder, project } = service;
    const steps = await verify({ folder, file: project.serviceFile("v1") });
    assert.deepEqual(
      steps.map(({ step, ok }) => `${step}: ${ok ? "ok" : "not ok"}`),
      [
        "first deploy: ok",
        "requests: ok",
        "rollout, held at 50%: ok",
        "weights: ok",
        "requests by role: ok",
        "completion: ok",
        "another rollout, held at 50%: ok",
        "rollback: ok",
        "requests after it: ok",
        "the end: ok",
      ],
    );
    const detail = (name: string) => steps.find(({ step }) => step === name)?.detail;
    assert.equal(detail("requests by role"), "any version 200, primary 200, canary 200, without the token 401");
    assert.equal(detail("weights"), "50: percent by the load balancer itself");
    assert.deepEqual(project.leftovers(versions), []);
  });
});
