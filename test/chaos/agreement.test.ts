import assert from "node:assert/strict";
import { parseRecord, type RolloutRecord } from "../../components/record";
import type { Effect } from "../../provider/effects";
import { runCase } from "../sim/matrix";
import type { Command } from "../sim/schedule";
import type { Instant, Victim } from "./crash";
import { pathOf } from "./path";
import { ChaosProject } from "./project";
import { argumentsOf, scenarios } from "./scenarios";

/** What a scenario was to whoever looks from outside; the versions are called by their roles at its beginning. */
interface Seen {
  /** What Ray and HAProxy were told, in order. */
  path: string[];
  /** Exit codes of the commands; -1: killed. */
  codes: number[];
  record: object;
}

interface Comparison {
  title: string;
  scenario: string;
  /** Names on the real parts, where one scenario follows the other. */
  versions: [primary: string, canary: string];
  kill?: { at: Instant; victim: Victim };
}

/** All begin with v1; the last one leaves another version. */
const comparisons: Comparison[] = [
  { title: "a canary that fails to start", scenario: "failing canary under a surge", versions: ["v1", "v4"] },
  {
    title: "a way back from a hold whose provider is killed",
    scenario: "rollback",
    versions: ["v1", "v2"],
    kill: { victim: "provider", at: { name: "PUT Serve config", when: "before", occurrence: 0 } },
  },
  {
    title: "a rollout under a surge whose driver is killed in the middle",
    scenario: "rollout",
    versions: ["v1", "v3"],
    kill: { victim: "driver", at: { name: "write the stack's config", when: "after", occurrence: 2 } },
  },
];

/**
 * The simulation is worth what its fakes of the engine and of HAProxy are worth: here it has to go through the same as the
 * real engine, provider, command line and HAProxy. Ray is a fake on both sides.
 */
describe("the fakes and the real parts", function () {
  this.timeout(300_000);
  let project: ChaosProject;

  before(async () => {
    project = new ChaosProject();
    const ran = await project.rayshift("deploy", "-f", project.serviceFile("v1"));
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  });
  after(async () => {
    await project.remove();
  });

  for (const comparison of comparisons) {
    it(`go through the same with ${comparison.title}`, async () => {
      const real = await onRealParts(project, comparison);
      const fake = await onFakes(comparison);
      assert.ok(fake.path.length > 4, fake.path.join("\n"));
      assert.deepEqual(real, fake);
    });
  }
});

const scenarioOf = ({ scenario }: Comparison) => scenarios.find(({ name }) => name === scenario)!;

async function onFakes(comparison: Comparison): Promise<Seen> {
  const report = await runCase({ scenario: scenarioOf(comparison), ...comparison.kill });
  assert.deepEqual(report.violations, [], report.trace.join("\n"));
  assert.equal(report.reached, comparison.kill !== undefined);
  return seen(["v1", "v2"], report);
}

async function onRealParts(project: ChaosProject, comparison: Comparison): Promise<Seen> {
  const { versions, kill } = comparison;
  const scenario = scenarioOf(comparison);
  const [primary, canary] = versions;
  const effects: Effect[] = [];
  const codes: number[] = [];
  const file = (version: string) =>
    project.serviceFile(version, scenario.canary === "fails" && version === canary ? { FAIL: "no such model" } : {});
  const give = async (command: Command, at?: Comparison["kill"]) => {
    const ran = await project.watched(argumentsOf(command, file), at);
    effects.push(...ran.log.flatMap((line) => ("name" in line ? line : [])));
    codes.push(ran.code);
  };
  for (const command of scenario.before?.(canary) ?? []) await give(command);
  await give(scenario.command(canary), kill);
  if (kill !== undefined) await give(scenario.command(canary));
  const output = await project.pulumi("stack", "output", "rollout", "--json", "--show-secrets");
  const record = parseRecord(JSON.parse(output.stdout));
  const directoryOf = (version: string) => project.directoryOf(`cluster-${version}`);
  return seen([primary, canary], { effects, codes, record, directoryOf });
}

function seen(
  versions: [string, string],
  {
    effects,
    codes,
    record,
    directoryOf,
  }: {
    effects: Effect[];
    codes: number[];
    record: RolloutRecord | undefined;
    directoryOf: (version: string) => string;
  },
): Seen {
  const [primary, canary] = versions;
  const versionAt = (directory: string) => versions.find((version) => directoryOf(version) === directory);
  const inRoles = (text: string) => text.replaceAll(primary, "primary").replaceAll(canary, "canary");
  const placed = (version: RolloutRecord["canary"]) =>
    version && inRoles(`${version.name} ${version.cluster} ${version.capacity} ${version.traffic}`);
  return {
    path: pathOf(effects, primary, versionAt).map(inRoles),
    codes,
    record: {
      phase: record?.phase,
      primary: placed(record?.primary),
      canary: placed(record?.canary),
      surge: record?.surge,
      rejected: record?.rejected?.some(({ version }) => version === canary) === true,
    },
  };
}
