import { instanceTypes } from "../instanceTypes";
import { didYouMean, type Problem } from "../problems";
import type { ServiceSpec } from "../serviceSpec";
import { isLocalPath } from "../specParts";

/** How a target's machines are asked for. */
export interface CloudRules {
  /** Name of the target. */
  target: "aws" | "gcp";
  /** Whether an instance type is this cloud's. */
  isOwn(instanceType: string): boolean;
  /** An instance type for a head that the spec says nothing of. */
  exampleHead: string;
  exampleWorker: string;
  /** Where a working directory can be. */
  exampleUri: string;
}

/** What of a service cannot be on a cloud's machines; paths are below the service. */
export function cloudProblems(spec: ServiceSpec, rules: CloudRules): Problem[] {
  const { head_node: head, worker_nodes: groups } = spec.compute_config;
  const problems: Problem[] = [];
  if (spec.working_dir !== undefined && isLocalPath(spec.working_dir)) {
    problems.push({
      path: "working_dir",
      value: spec.working_dir,
      rule: "is a folder of this machine, which no machine in the cloud sees",
      remedy: `put the code into the image, or give a URI such as ${rules.exampleUri}`,
    });
  }
  problems.push(...typeProblem("compute_config.head_node", head?.instance_type, rules.exampleHead, rules));
  groups.forEach((group, index) => {
    const path = `compute_config.worker_nodes[${index}]`;
    problems.push(...typeProblem(path, group.instance_type, rules.exampleWorker, rules));
    if (group.min_nodes > 0) {
      problems.push({
        path: `${path}.min_nodes`,
        value: group.min_nodes,
        rule: `must be 0 on the target ${rules.target}: nodes that stay would double in a rollout`,
        remedy: "set it to 0; nodes start as replicas need them, and `num_replicas` or `min_replicas` keep them",
      });
    }
  });
  return problems;
}

function typeProblem(path: string, type: string | undefined, example: string, rules: CloudRules): Problem[] {
  if (type === undefined) {
    const rule = `is missing: on the target ${rules.target} a node is a machine of some type`;
    return [{ path: `${path}.instance_type`, rule, remedy: `give for example ${example}` }];
  }
  // With explicit resources a type that is in no table may be any cloud's.
  if (!instanceTypes.has(type) || rules.isOwn(type)) return [];
  const own = [...instanceTypes.keys()].filter(rules.isOwn);
  const hint = didYouMean(type, own);
  const remedy = hint.startsWith("did") ? hint : `give one of its own, for example ${example}`;
  return [{ path: `${path}.instance_type`, value: type, rule: `is no instance type of ${rules.target}`, remedy }];
}
