import assert from "node:assert/strict";
import { capacityInUse, parseObservation, servesNothing } from "../../../provider/serve/observation";

const parse = (details: object) => parseObservation(JSON.stringify(details), "http://127.0.0.1:1");

describe("What Ray says of Serve", () => {
  const deployment = {
    status: "UPSCALING",
    status_trigger: "AUTOSCALING",
    message: "",
    target_num_replicas: 3,
    deployment_config: { autoscaling_config: { min_replicas: 2, initial_replicas: null, max_replicas: 5 } },
    replicas: [
      { replica_id: "a", state: "RUNNING" },
      { replica_id: "b", state: "PENDING_MIGRATION" },
      { replica_id: "c", state: "STARTING" },
    ],
    an_option_of_a_later_ray: 1,
  };

  it("is read with what serves requests, in all states, and at full capacity", () => {
    const application = { status: "RUNNING", message: "", deployments: { D: deployment } };
    const { applications, targetCapacity } = parse({ target_capacity: 50, applications: { a: application } });
    const observed = applications.a?.deployments.D ?? assert.fail("the deployment is there");
    assert.equal(targetCapacity, 50);
    assert.deepEqual(observed.byState, { RUNNING: 1, PENDING_MIGRATION: 1, STARTING: 1 });
    assert.deepEqual([observed.running, observed.replicaIds.length, observed.full], [2, 3, 2]);
    assert.deepEqual(observed.autoscaling, { min: 2, max: 5 });
  });

  it("takes up no capacity where Serve runs nothing, and all of it where none was set", () => {
    assert.equal(capacityInUse(parse({ applications: {}, target_capacity: null })), 0);
    assert.equal(capacityInUse(parse({ applications: { a: { status: "RUNNING" } }, target_capacity: null })), 100);
    assert.equal(capacityInUse(parse({ applications: { a: { status: "RUNNING" } }, target_capacity: 0 })), 0);
  });

  it("serves nothing where no replica runs, but for deployments that may scale to zero", () => {
    const serving = (...deployments: object[]) =>
      !servesNothing(
        parse({ applications: { a: { status: "DEPLOYING", deployments: Object.fromEntries(deployments.entries()) } } }),
      );
    const starting = { ...deployment, replicas: [{ replica_id: "c", state: "STARTING" }] };
    const fromZero = { ...starting, deployment_config: { autoscaling_config: { min_replicas: 0, max_replicas: 5 } } };
    assert.deepEqual([serving(deployment), serving(starting, deployment)], [true, true]);
    assert.deepEqual([serving(starting), serving(fromZero), serving(fromZero, starting)], [false, true, false]);
    assert.equal(serving(), false);
    assert.equal(servesNothing(parse({ applications: {} })), true);
  });

  it("is refused with its source when it is something else", () => {
    assert.throws(
      () => parseObservation("<html>", "http://h:1"),
      /http:\/\/h:1 did not answer with JSON but with: <html>/,
    );
    assert.throws(
      () => parse({ applications: { a: {} } }),
      /did not answer as Ray Serve 2.60 does:.*applications\.a\.status/s,
    );
  });
});
