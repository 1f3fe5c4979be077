import assert from "node:assert/strict";
import { type Expectation, helpful, StartFailures, unhealthyReason, verdict } from "../../../provider/serve/health";
import type { ApplicationObservation, DeploymentObservation, Observation } from "../../../provider/serve/observation";

const replicas = (...states: string[]): Partial<DeploymentObservation> => {
  const ids = states.map((state, index) => `${state}-${index}`);
  const byState: Record<string, number> = {};
  for (const state of states) byState[state] = (byState[state] ?? 0) + 1;
  const runningIds = ids.filter((id) => id.startsWith("RUNNING"));
  return { byState, replicaIds: ids, runningIds, running: runningIds.length };
};

const deployment = (given: Partial<DeploymentObservation> = {}): DeploymentObservation => ({
  status: "HEALTHY",
  message: "",
  trigger: "UPSCALE_COMPLETED",
  targetReplicas: 2,
  full: 4,
  maxOngoingRequests: 5,
  gracefulShutdownTimeout: 20,
  running: 0,
  byState: {},
  replicaIds: [],
  runningIds: [],
  nodeIds: [],
  ...replicas("RUNNING", "RUNNING"),
  ...given,
});

const observation = (
  given: Partial<DeploymentObservation> = {},
  application: Partial<ApplicationObservation> = {},
  targetCapacity: number | null = 50,
): Observation => ({
  targetCapacity,
  applications: {
    default: { status: "RUNNING", message: "", deployments: { Model: deployment(given) }, ...application },
  },
});

const expectation = (atLeast = 2, atMost = atLeast, capacity: number | null = 50): Expectation => ({
  capacity,
  applications: ["default"],
  replicas: { default: { Model: { atLeast, atMost } } },
});

const waitsFor = (seen: Observation, wanted: Expectation, reason: RegExp) => {
  const judged = verdict(seen, wanted);
  assert.equal(judged.state, "waiting");
  assert.match(judged.state === "waiting" ? judged.reason : "", reason);
};

const fails = (seen: Observation, wanted: Expectation, reason: RegExp) => {
  const judged = verdict(seen, wanted);
  assert.equal(judged.state, "unhealthy");
  assert.match(judged.state === "unhealthy" ? judged.reason : "", reason);
};

const TRACEBACK = `A replica failed to start with exception. Retrying. Error:
ray::ServeReplica:default:Model.initialize() (pid=1)
Traceback (most recent call last):
  File "app.py", line 3, in __init__
    raise RuntimeError("no weights")
RuntimeError: no weights
Look in the bucket.`;

describe("The health of a cluster", () => {
  it("is good when capacity, applications, targets and running replicas are all as expected", () => {
    assert.deepEqual(verdict(observation(), expectation()), { state: "healthy" });
  });

  it("waits for the capacity to read back as it was sent", () => {
    waitsFor(observation({}, {}, null), expectation(), /target_capacity reads back null, 50 was sent/);
    waitsFor(observation(), expectation(2, 2, null), /reads back 50, null was sent/);
  });

  it("is not concluded from what Ray shows right after a PUT", () => {
    waitsFor(observation({}, { status: "DEPLOYING" }), expectation(), /application default is DEPLOYING/);
    const old = observation({ status: "UNHEALTHY", trigger: "REPLICA_STARTUP_FAILED" }, { status: "DEPLOYING" });
    assert.equal(verdict(old, expectation()).state, "waiting");
  });

  it("waits for replicas, and says how many of which deployment run", () => {
    const seen = observation({ targetReplicas: 4, status: "UPSCALING", ...replicas("RUNNING", "RUNNING", "STARTING") });
    waitsFor(seen, expectation(4), /^2 of 4 replicas of Model run; 1 starting$/);
  });

  it("names the application too where there are several", () => {
    const seen = observation({ targetReplicas: 4 });
    seen.applications.other = { status: "RUNNING", message: "", deployments: {} };
    waitsFor(seen, { ...expectation(4), applications: ["default", "other"] }, /^2 of 4 replicas of default\/Model run/);
  });

  it("waits while Ray wants another number than expected", () => {
    waitsFor(observation({ targetReplicas: 3 }), expectation(), /Ray wants 3 replicas of Model, 2 are expected/);
  });

  it("waits until surplus replicas are gone, not only until they stop serving", () => {
    const seen = observation(replicas("RUNNING", "RUNNING", "STOPPING"));
    waitsFor(seen, expectation(), /1 surplus replicas of Model still to end/);
  });

  it("is not asked of what is left after a capacity was lowered: only the surplus has to be gone", () => {
    const lowered: Expectation = { ...expectation(2), surplusOnly: true };
    const failing = { status: "UNHEALTHY", message: "boom", ...replicas("STARTING") };
    assert.deepEqual(verdict(observation(failing, { status: "UNHEALTHY" }), lowered), { state: "healthy" });
    waitsFor(
      observation(replicas("RUNNING", "RUNNING", "STOPPING")),
      lowered,
      /1 surplus replicas of Model still to end/,
    );
    waitsFor(observation({ targetReplicas: 4 }), lowered, /Ray still wants 4 replicas of Model/);
    waitsFor(observation({}, {}, 100), lowered, /target_capacity reads back 100, 50 was sent/);
  });

  it("waits for an application and a deployment that are not there yet, and for one that is to go", () => {
    waitsFor({ targetCapacity: 50, applications: {} }, expectation(), /application default is not there yet/);
    waitsFor(observation({}, { deployments: {} }), expectation(), /deployment Model is not there yet/);
    const seen = observation();
    seen.applications.old = { status: "DELETING", message: "", deployments: {} };
    waitsFor(seen, expectation(), /application old is being deleted/);
  });

  it("is not good by an application that is RUNNING at capacity 0", () => {
    const seen = observation({ targetReplicas: 0, ...replicas() }, {}, 0);
    waitsFor(seen, expectation(), /reads back 0, 50 was sent/);
    assert.deepEqual(verdict(seen, expectation(0, 0, 0)), { state: "healthy" });
  });

  it("is reached at capacity 0 when no replica is left, whatever state the application was in", () => {
    const zero = (given: Partial<DeploymentObservation>, status: string) =>
      verdict(observation({ targetReplicas: 0, ...given }, { status }, 0), expectation(0, 0, 0));
    assert.equal(zero(replicas(), "UNHEALTHY").state, "healthy");
    assert.equal(zero(replicas(), "DEPLOY_FAILED").state, "healthy");
    assert.equal(zero(replicas("STOPPING"), "RUNNING").state, "waiting");
    assert.equal(zero({ ...replicas(), targetReplicas: 1 }, "UNHEALTHY").state, "waiting");
    assert.equal(zero(replicas("RUNNING"), "DEPLOY_FAILED").state, "unhealthy");
  });

  it("follows a deployment that scales by itself within its bounds", () => {
    const scaling = (target: number, running: string[]) =>
      observation({
        autoscaling: { min: 4, max: 10 },
        status: "UPSCALING",
        trigger: "AUTOSCALING",
        targetReplicas: target,
        ...replicas(...running),
      });
    assert.equal(verdict(scaling(3, ["RUNNING", "RUNNING", "STARTING"]), expectation(2, 5)).state, "healthy");
    waitsFor(scaling(2, ["RUNNING", "STARTING"]), expectation(2, 5), /1 of 2 replicas of Model run; 1 starting/);
    waitsFor(scaling(6, Array(6).fill("RUNNING")), expectation(2, 5), /Ray wants 6 replicas of Model, 2 to 5 are/);
  });

  it("takes Ray's own word for counts that are still to be learned, once the applications are built", () => {
    const { replicas: _unknown, ...learning } = expectation();
    assert.equal(verdict(observation(), learning).state, "healthy");
    assert.equal(verdict(observation({ full: 6 }), learning).state, "waiting");
    const unbuilt = observation({}, { status: "DEPLOYING", deployments: {} }, 0);
    waitsFor(unbuilt, { ...learning, capacity: 0 }, /application default is DEPLOYING/);
  });

  it("is bad when a deployment failed, with the exception and not its traceback", () => {
    const given = { status: "UNHEALTHY", trigger: "REPLICA_STARTUP_FAILED", message: TRACEBACK };
    const seen = observation(given, { status: "UNHEALTHY", message: "The deployments ['Model'] are UNHEALTHY." });
    const reason =
      "deployment Model is UNHEALTHY (REPLICA_STARTUP_FAILED): RuntimeError: no weights\nLook in the bucket.";
    assert.deepEqual(verdict(seen, expectation()), { state: "unhealthy", reason });
    assert.equal(unhealthyReason(seen), reason);
    assert.equal(unhealthyReason(observation()), undefined);
  });

  it("is bad when an application could not be built", () => {
    const seen = observation({}, { status: "DEPLOY_FAILED", message: TRACEBACK, deployments: {} });
    fails(seen, expectation(), /^application default is DEPLOY_FAILED: RuntimeError: no weights/);
  });

  it("is bad when replicas fail to start again and again beside one that runs", () => {
    const seen = (...starting: string[]) => {
      // Ray's other messages, such as on slow scheduling, come over that of the failure.
      const message = starting.includes("b") ? TRACEBACK : "Upscaling from 1 to 2 replicas.";
      const given = {
        targetReplicas: 2,
        message,
        replicaIds: ["r", ...starting],
        runningIds: ["r"],
        running: 1,
      };
      return observation(given, { status: "DEPLOYING" });
    };
    const failures = new StartFailures();
    const judged = [seen("a"), seen("b"), seen("c"), seen("d")].map((each) => failures.observe(each));
    assert.deepEqual(judged.slice(0, 3), [undefined, undefined, undefined]);
    const reason = "3 replicas of Model failed to start: RuntimeError: no weights\nLook in the bucket.";
    assert.deepEqual(judged[3], { state: "unhealthy", reason });
  });

  it("is not bad by replicas that a smaller target ends while they start", () => {
    const failures = new StartFailures();
    const seen = (...ids: string[]) => observation({ replicaIds: ["r", ...ids], runningIds: ["r"], running: 1 });
    for (const each of [seen("a", "b", "c"), seen()]) assert.equal(failures.observe(each), undefined);
  });

  it("is not bad by replicas that ended after they ran", () => {
    const failures = new StartFailures();
    for (const id of ["a", "b", "c", "d", "e"]) {
      const given = { message: TRACEBACK, replicaIds: [id, "r"], runningIds: [id, "r"], running: 2 };
      assert.equal(failures.observe(observation(given)), undefined);
    }
  });

  it("tells of resources that are missing without advice that does not apply", () => {
    const message =
      "Deployment 'Model' has 1 replicas that have taken more than 30s to be scheduled. This may be due to waiting. " +
      'Resources required for each replica: {"GPU": 1}, total resources available: {}. Use `ray status` for more details.';
    assert.equal(helpful(message), 'Resources required for each replica: {"GPU": 1}, total resources available: {}.');
    const seen = observation({ targetReplicas: 4, message, ...replicas("RUNNING", "RUNNING", "STARTING") });
    waitsFor(seen, expectation(4), /1 starting \(Resources required for each replica: \{"GPU": 1\}/);
  });
});
