import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { runtimeDirectory } from "../components/local/host";
import type { ClusterInputs } from "../provider/local/cluster";
import { readRecord } from "../provider/local/clusterDirectory";
import type { Project } from "./project";

/**
 * Clusters on this host that were made for a stack and that the stack does not hold. An engine whose provider was killed
 * drops the creation that was under way, and nothing else would ever end what it had started.
 *
 * @param held directories of the clusters that the stack holds
 */
export function strayClusters({ home, name, stack }: Project, held: readonly string[]): ClusterInputs[] {
  const directoryOf = (part: string) => runtimeDirectory({ home, project: name, stack, part });
  const root = dirname(directoryOf(""));
  return entries(root).flatMap((entry) => {
    const directory = join(root, entry);
    const inputs = held.includes(directory) ? undefined : readRecord(directory)?.inputs;
    if (inputs === undefined) return [];
    // Ray's name of a cluster is that of the service and of the version, either of which may have hyphens.
    const parts = inputs.clusterName.split("-");
    const own = parts.some((_, index) => directoryOf(`cluster-${parts.slice(index).join("-")}`) === directory);
    return own ? [inputs] : [];
  });
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
