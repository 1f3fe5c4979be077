import { InvalidInput } from "./problems";
import type { Addresses } from "./service";
import type { StackConfig } from "./stackConfig";
import type { ClusterAddress } from "./target";

/** By the config key that says it. */
type Place = Record<string, string>;

/**
 * Refuses a config that puts a running service somewhere else: the engine would make its clusters anew there and end those
 * that serve, all in one update.
 *
 * @param recorded addresses of what runs; absent before the first deploy
 * @throws InvalidInput
 */
export function refuseToMove(
  config: Pick<StackConfig, "target" | "kubernetes" | "aws" | "gcp">,
  recorded: Pick<Addresses, "clusters"> | undefined,
): void {
  const wanted = placeWanted(config);
  const place: Place = Object.assign({}, ...Object.values(recorded?.clusters ?? {}).map(placeOfCluster));
  const moved = Object.keys(place).filter((key) => place[key] !== wanted[key]);
  // The keys of another target say nothing more.
  const told = moved.includes("target") ? ["target"] : moved;
  if (told.length === 0) return;
  throw new InvalidInput(
    told.map((key) => ({
      path: `rayshift:${key}`,
      value: wanted[key],
      rule: `is not where the service runs (${place[key]}), and an update does not move a running service`,
      remedy:
        `set it back to ${place[key]}; for another place deploy a stack of its own there, and end this one with ` +
        "`rayshift terminate`",
    })),
    "stack config",
  );
}

function placeWanted({
  target,
  kubernetes,
  aws,
  gcp,
}: Pick<StackConfig, "target" | "kubernetes" | "aws" | "gcp">): Place {
  return {
    target,
    ...(kubernetes && { "kubernetes.namespace": kubernetes.namespace }),
    ...(aws && { "aws.region": aws.region }),
    ...(gcp && { "gcp.project": gcp.project, "gcp.zone": gcp.zone }),
  };
}

function placeOfCluster({ kubernetes, instances, dashboardToken }: ClusterAddress): Place {
  if (kubernetes !== undefined) return { target: "kubernetes", "kubernetes.namespace": kubernetes.namespace };
  // In one of the clouds, and the address does not say where.
  if (instances === undefined) return dashboardToken === undefined ? { target: "local" } : {};
  const { cloud: target } = instances;
  if (target === "aws") return { target, "aws.region": instances.region };
  return { target, "gcp.project": instances.project, "gcp.zone": instances.zone };
}
