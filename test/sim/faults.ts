import type { Random } from "../chaos/random";
import type { FakeProcess } from "../fake/process";
import type { FakeCluster } from "../fake/world";
import type { FaultKind } from "./schedule";
import type { Simulation } from "./service";

/** What a fault can strike. */
export interface Struck {
  simulation: Simulation;
  driver: FakeProcess;
  /** Ctrl-C of the driver. */
  interruption: AbortController;
  /** Name of the primary's cluster as recorded, when a service is. */
  primary: string | undefined;
  /** The version that a cluster runs. */
  versionOf(cluster: string): string | undefined;
  random: Random;
}

/** Lets a fault take place; gives false where there is nothing yet that it could strike. */
export function strike(what: FaultKind, struck: Struck): boolean {
  const { simulation, driver, interruption } = struck;
  const { underway } = simulation.cli;
  switch (what) {
    case "kill driver":
      driver.end();
      return true;
    case "kill engine":
      underway?.process.end();
      return underway !== undefined;
    case "kill both":
      driver.end();
      underway?.process.end();
      return true;
    case "kill provider":
      underway?.engine.provider.end();
      return underway !== undefined;
    case "interrupt":
      interruption.abort();
      return true;
    case "weights by hand":
    case "lies":
    case "HAProxy dies":
      return strikeBalancer(what, struck);
    default:
      return strikeCluster(what, struck);
  }
}

function strikeBalancer(what: FaultKind, { simulation, random }: Struck): boolean {
  const { balancer, backend, world } = simulation;
  if (balancer === undefined) return false;
  if (what === "HAProxy dies") {
    const known = backend.resources.some(({ type }) => type === "rayserve:local:LoadBalancer");
    return known && world.balancers.delete(balancer.directory);
  }
  if (what === "lies") {
    balancer.lies = true;
    return true;
  }
  const [first, second] = Object.keys(balancer.weights());
  if (first === undefined || second === undefined) return false;
  const weight = random.pick([0, 20, 50, 80, 100]);
  balancer.setByHand({ [first]: weight, [second]: 100 - weight });
  return true;
}

function strikeCluster(what: FaultKind, { simulation, primary: name, versionOf }: Struck): boolean {
  const { world } = simulation;
  const clusters = [...world.clusters.values()].filter(({ runs }) => runs);
  const primary = clusters.find((each) => each.name === name);
  const canary = primary && clusters.find((each) => each !== primary);
  const cluster: FakeCluster | undefined = what.includes("primary") ? primary : canary;
  const version = cluster && versionOf(cluster.name);
  if (cluster === undefined || version === undefined) return false;
  if (what.startsWith("break")) world.broken.add(simulation.breaks(version));
  else world.killHead(cluster);
  if (what === "canary is deleted") world.clusters.delete(cluster.directory);
  return true;
}
