import type { Change } from "../../provider/serve/changes";
import type { Range } from "../peaks";
import { describeWaypoint } from "../plan";
import type { PlannedWaypoint, RolloutPlan } from "../planCommand";

/** Text for people: what a deploy would do. */
export function planLines(planned: RolloutPlan): string[] {
  const { version, from, back, waypoints, completes, changes = [] } = planned;
  const ended = completes ? [numbered(waypoints.length, `${version} is the primary, the old cluster ends`)] : [];
  const steps = [...waypoints.map((waypoint, index) => numbered(index, stepLine(waypoint))), ...ended];
  const notices = planned.notices.map((text) => `note: ${text}`);
  const peaks = peakLine(planned);
  switch (planned.kind) {
    case "firstDeploy":
      return [...notices, `first deploy of ${version}: one cluster, all the traffic`, peaks];
    case "unchanged":
      return [...notices, `${version} runs already: nothing to do`, peaks];
    case "inPlace":
      return [
        ...notices,
        `${version} in place of the running version's applications, on the same cluster:`,
        ...changeLines(changes).map((line) => `  ${line}`),
        peaks,
      ];
    case "rollout":
      return [...notices, `roll out ${version} from ${describeWaypoint(from)}:`, ...steps, peaks];
    case "rollbackFirst":
      return [
        ...notices,
        `the rollout that is under way is taken back first, from ${describeWaypoint(from)}:`,
        ...back.map((waypoint, index) =>
          numbered(index, `${describeWaypoint(waypoint.waypoint)}${upTo(waypoint.peakReplicas)}`),
        ),
        ...(waypoints.length === 0 ? [`then ${version} runs alone again`] : [`then ${version} rolls out:`, ...steps]),
        peaks,
      ];
  }
}

/** What an in-place update does to the replicas of each deployment. */
export function changeLines(changes: readonly Change[]): string[] {
  return changes.map(({ application, deployment, kind, reason }) => {
    const others = changes.some((change) => change.application === application && change.deployment !== "*");
    return `${nameOf(application, deployment, others)}: ${effects[kind]} (${reason})`;
  });
}

const effects: Record<Change["kind"], string> = {
  none: "unchanged, replicas are kept",
  lightweight: "lightweight, replicas are kept",
  heavyweight: "heavyweight, replicas are replaced",
  added: "new",
  removed: "ends",
};

function nameOf(application: string, deployment: string, others: boolean): string {
  if (application === "*") return "all applications";
  if (deployment !== "*") return `${application}/${deployment}`;
  return others ? `${application}, its other deployments` : `${application}, all its deployments`;
}

const numbered = (index: number, text: string) => `${String(index + 1).padStart(3)}  ${text}`;

function stepLine({ waypoint, peakReplicas, rollbackSpeed, rollbackUpdates }: PlannedWaypoint): string {
  const updates = `${rollbackUpdates} update${rollbackUpdates === 1 ? "" : "s"}`;
  const back = rollbackSpeed === "traffic-first" ? "at once" : `by waypoints, ${updates}`;
  return `${describeWaypoint(waypoint)}${upTo(peakReplicas)}; back ${back}`;
}

function upTo(replicas: Range | undefined): string {
  if (replicas === undefined) return "";
  const { least, most } = replicas;
  return `; up to ${most} replicas${least === most ? "" : ` (at least ${least})`}`;
}

const rangeText = ({ least, most }: Range) => (least === most ? String(most) : `${least} to ${most}`);

function peakLine({ peakCapacity, peakReplicas, peakGpus }: RolloutPlan): string {
  const replicas = peakReplicas === undefined ? "replicas as the code says" : `${rangeText(peakReplicas)} replicas`;
  return `peak: ${peakCapacity}% capacity, ${replicas}${peakGpus === undefined ? "" : `, ${rangeText(peakGpus)} GPUs`}`;
}
