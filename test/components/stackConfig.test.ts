import assert from "node:assert/strict";
import { InvalidInput, type Problem } from "../../components/problems";
import { parseRolloutFlags, parseStackConfig } from "../../components/stackConfig";

const service = { name: "sample-service", applications: [{ import_path: "app:app" }] };
const waypoint = {
  primary: "v1",
  canary: "v2",
  primaryCapacity: 75,
  canaryCapacity: 50,
  canaryTraffic: 25,
  direction: "forward",
  startedAt: "2026-01-31T12:00:00Z",
  surge: 25,
};

function config(changes: Record<string, string | undefined> = {}): Record<string, string | undefined> {
  return { service: JSON.stringify(service), ...changes };
}

function problemsOf(run: () => unknown): Problem[] {
  try {
    run();
  } catch (error) {
    assert.ok(InvalidInput.isInstance(error), String(error));
    return error.problems;
  }
  return [];
}

function onlyProblem(run: () => unknown): string {
  const problems = problemsOf(run);
  assert.equal(problems.length, 1, JSON.stringify(problems));
  return new InvalidInput(problems).message.split("\n")[1]!.trim();
}

describe("parseStackConfig", () => {
  it("fills in the defaults", () => {
    const { service: spec, ...rest } = parseStackConfig(config());
    assert.equal(spec.applications[0]!.route_prefix, "/");
    assert.deepEqual(rest, {
      written: service,
      target: "local",
      rolloutTimeoutMinutes: 120,
      drainTimeoutSeconds: 120,
      startupTimeoutSeconds: 600,
      idleTimeoutSeconds: 60,
      autoRollback: true,
      notices: [],
    });
  });

  it("reads numbers, truth values and mappings from text", () => {
    const parsed = parseStackConfig(
      config({
        target: "local",
        canaryPercent: "10",
        maxSurgePercent: "50",
        inPlace: "false",
        port: "8080",
        idleTimeoutSeconds: "2.5",
        autoRollback: "false",
        waypoint: JSON.stringify(waypoint),
      }),
    );
    assert.deepEqual(
      { ...parsed, service: undefined },
      {
        service: undefined,
        written: service,
        target: "local",
        canaryPercent: 10,
        maxSurgePercent: 50,
        inPlace: false,
        port: 8080,
        rolloutTimeoutMinutes: 120,
        drainTimeoutSeconds: 120,
        startupTimeoutSeconds: 600,
        idleTimeoutSeconds: 2.5,
        autoRollback: false,
        waypoint,
        notices: [],
      },
    );
  });

  it("takes a canary percent of 0", () =>
    assert.equal(parseStackConfig(config({ canaryPercent: "0" })).canaryPercent, 0));

  for (const surge of ["0", "101", "ten", "-5", "12.5", ""]) {
    it(`refuses a surge of ${JSON.stringify(surge)}`, () => {
      const problem = onlyProblem(() => parseStackConfig(config({ maxSurgePercent: surge })));
      assert.ok(
        problem.startsWith(`- rayshift:maxSurgePercent: "${surge}" must be a whole number from 1 to 100; give `),
        problem,
      );
    });
  }

  for (const percent of ["-1", "101", "ten", "5%"]) {
    it(`refuses a canary percent of ${percent}`, () => {
      const problem = onlyProblem(() => parseStackConfig(config({ canaryPercent: percent })));
      assert.ok(
        problem.startsWith(`- rayshift:canaryPercent: "${percent}" must be a whole number from 0 to 100; give `),
        problem,
      );
    });
  }

  it("names the nearest known key for one that is not known", () => {
    assert.equal(
      onlyProblem(() => parseStackConfig(config({ canaryPrecent: "10" }))),
      "- rayshift:canaryPrecent: unknown key `canaryPrecent`; did you mean `canaryPercent`?",
    );
  });

  it("refuses an in-place update with a canary percent or a waypoint; a standing surge has no effect on it", () => {
    const problems = problemsOf(() =>
      parseStackConfig(
        config({ inPlace: "true", canaryPercent: "0", maxSurgePercent: "50", waypoint: JSON.stringify(waypoint) }),
      ),
    );
    assert.deepEqual(
      problems.map(({ path }) => path),
      ["rayshift:canaryPercent", "rayshift:waypoint"],
    );
    assert.equal(parseStackConfig(config({ inPlace: "true", maxSurgePercent: "50" })).inPlace, true);
  });

  it("lists the problems of the config and of the service in one error", () => {
    const paths = problemsOf(() =>
      parseStackConfig({
        target: "azure",
        maxSurgePercent: "ten",
        service: JSON.stringify({ ...service, name: "X", applications: [{ import_path: "app" }] }),
      }),
    ).map(({ path }) => path);
    assert.deepEqual(paths, [
      "rayshift:target",
      "rayshift:maxSurgePercent",
      "rayshift:service.name",
      "rayshift:service.applications[0].import_path",
    ]);
  });

  it("asks for a service when there is none", () => {
    assert.match(
      onlyProblem(() => parseStackConfig({})),
      /^- rayshift:service: .*; run `rayshift deploy -f service.yaml`/,
    );
  });

  it("does not show a service that is not a mapping: it may hold secrets", () => {
    const problem = onlyProblem(() => parseStackConfig({ service: '{"env_vars": {"KEY": "hunter2"' }));
    assert.match(problem, /^- rayshift:service: must be a mapping/);
    assert.doesNotMatch(problem, /hunter2/);
  });

  describe("with min_nodes above 0", () => {
    const keeping = JSON.stringify({
      ...service,
      compute_config: { worker_nodes: [{ instance_type: "g5.xlarge", min_nodes: 2 }] },
    });

    it("refuses a surge", () => {
      assert.match(
        onlyProblem(() => parseStackConfig({ service: keeping, maxSurgePercent: "50" })),
        /^- rayshift:service\.compute_config\.worker_nodes\[0\]\.min_nodes: 2 must be 0 with a max surge of 50%/,
      );
    });

    it("refuses a surge also when another setting is wrong", () => {
      assert.equal(
        problemsOf(() => parseStackConfig({ service: keeping, maxSurgePercent: "50", port: "x" })).length,
        2,
      );
    });

    it("warns of the cost without a surge", () => {
      assert.match(parseStackConfig({ service: keeping }).notices.join(), /both clusters keep 2 nodes of g5\.xlarge/);
    });
  });

  describe("with a waypoint", () => {
    const withWaypoint = (changes: object) => () =>
      parseStackConfig(config({ waypoint: JSON.stringify({ ...waypoint, ...changes }) }));

    it("takes an immediate rollback", () => {
      const back = { primaryCapacity: 100, canaryCapacity: 0, canaryTraffic: 0, direction: "back", immediate: true };
      assert.equal(withWaypoint(back)().waypoint?.immediate, true);
      const partly = withWaypoint({ ...back, primaryCapacity: 30 })();
      assert.equal(partly.waypoint?.primaryCapacity, 30);
    });

    it("refuses more traffic than the canary has capacity for", () => {
      assert.match(
        onlyProblem(withWaypoint({ canaryCapacity: 20 })),
        /waypoint\.canaryTraffic: 25 is more than .* 20%/,
      );
    });

    it("refuses more traffic than the primary has capacity for", () => {
      assert.match(
        onlyProblem(withWaypoint({ primaryCapacity: 70 })),
        /waypoint\.primaryCapacity: 70 is less than .* 75%/,
      );
    });

    it("refuses one version in both roles", () => {
      assert.match(onlyProblem(withWaypoint({ canary: "v1" })), /waypoint\.canary: "v1" is the primary's version/);
    });

    it("refuses keys, times and directions that the driver does not write", () => {
      const problems = problemsOf(withWaypoint({ directions: "up", direction: "up", startedAt: "now", surge: 0 }));
      assert.deepEqual(
        problems.map(({ path }) => path).sort(),
        ["direction", "directions", "startedAt", "surge"].map((key) => `rayshift:waypoint.${key}`),
      );
    });

    it("refuses text that is not JSON", () => {
      assert.match(
        onlyProblem(() => parseStackConfig(config({ waypoint: "25" }))),
        /waypoint: 25 must be a waypoint.*pulumi config rm/,
      );
    });
  });
});

describe("parseRolloutFlags", () => {
  it("reads the flags", () => {
    assert.deepEqual(parseRolloutFlags({ canaryPercent: "0", maxSurgePercent: "100" }), {
      canaryPercent: 0,
      maxSurgePercent: 100,
    });
    assert.deepEqual(parseRolloutFlags({ inPlace: true }), { inPlace: true });
  });

  it("has the words of the config, and names the flags", () => {
    const flag = onlyProblem(() => parseRolloutFlags({ maxSurgePercent: "ten" }));
    const key = onlyProblem(() => parseStackConfig(config({ maxSurgePercent: "ten" })));
    assert.equal(flag, key.replace("rayshift:maxSurgePercent", "--max-surge-percent"));
  });

  it("refuses an in-place update with a canary percent and a surge", () => {
    const paths = problemsOf(() => parseRolloutFlags({ inPlace: true, canaryPercent: "5", maxSurgePercent: "5" })).map(
      ({ path }) => path,
    );
    assert.deepEqual(paths, ["--canary-percent", "--max-surge-percent"]);
  });
});
