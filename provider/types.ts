import { dirname } from "node:path";
import { cluster } from "./local/cluster";
import { readWeights } from "./local/haproxyAdmin";
import { loadBalancerType } from "./local/loadBalancer";
import { localPackage } from "./local/package";
import { liveWorkerCount } from "./local/rayProcesses";
import { applicationsType } from "./serve/applications";
import type { DashboardAddress } from "./serve/dashboard";
import { assertReadyFor } from "./serve/readiness";
import type { ResourceTypes } from "./server";
import { token } from "./token";

/** The workers of a cluster on this host, whose token file is in its directory. */
const localWorkers = ({ dashboardTokenFile }: DashboardAddress) =>
  dashboardTokenFile === undefined ? 0 : liveWorkerCount(dirname(dashboardTokenFile));

/** Every resource type that the provider offers, by its token. */
export const resourceTypes: ResourceTypes = {
  "rayserve:index:Token": token,
  "rayserve:local:Package": localPackage,
  "rayserve:local:Cluster": cluster,
  "rayserve:local:LoadBalancer": loadBalancerType(assertReadyFor),
  "rayserve:serve:Applications": applicationsType(readWeights, localWorkers),
};
