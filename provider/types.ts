import { dirname } from "node:path";
import { reaper } from "./aws/reaper";
import { cloudCluster } from "./cloud/cluster";
import { readMarkerWeights } from "./cloud/marker";
import { readiness as cloudReadiness } from "./cloud/readiness";
import { routed as cloudRouted } from "./cloud/routed";
import { reaper as gcpReaper } from "./gcp/reaper";
import { kubernetesCluster } from "./kubernetes/cluster";
import { clusterEnd } from "./kubernetes/clusterEnd";
import { readiness } from "./kubernetes/readiness";
import { routed } from "./kubernetes/routed";
import { cluster } from "./local/cluster";
import { readWeights } from "./local/haproxyAdmin";
import { loadBalancerType } from "./local/loadBalancer";
import { localPackage } from "./local/package";
import { liveWorkerCount } from "./local/rayProcesses";
import { applicationsType } from "./serve/applications";
import type { CountWorkers, ReadWeights } from "./serve/guards";
import { assertReadyFor } from "./serve/readiness";
import type { ResourceTypes } from "./server";
import { token } from "./token";

/** On this host the token file is in the cluster's directory. */
const countWorkers: CountWorkers = async ({ kubernetes, instances, dashboardTokenFile }, signal) => {
  if (instances?.cloud === "aws") return (await import("./aws/instances.js")).countWorkerInstances(instances, signal);
  if (instances?.cloud === "gcp") return (await import("./gcp/instances.js")).countWorkerInstances(instances, signal);
  if (kubernetes !== undefined) return (await import("./kubernetes/pods.js")).countWorkerPods(kubernetes, signal);
  return dashboardTokenFile === undefined ? 0 : liveWorkerCount(dirname(dashboardTokenFile));
};

const readShares: ReadWeights = async ({ adminSocket, httpRoute, marker }, signal) => {
  if (adminSocket !== undefined) return readWeights(adminSocket);
  if (marker !== undefined) return readMarkerWeights(marker, signal);
  return (await import("./kubernetes/httpRoute.js")).readRouteWeights(httpRoute, signal);
};

/** Every resource type that the provider offers, by its token. */
export const resourceTypes: ResourceTypes = {
  "rayserve:index:Token": token,
  "rayserve:local:Package": localPackage,
  "rayserve:local:Cluster": cluster,
  "rayserve:local:LoadBalancer": loadBalancerType(assertReadyFor),
  "rayserve:kubernetes:Cluster": kubernetesCluster,
  "rayserve:kubernetes:ClusterEnd": clusterEnd,
  "rayserve:kubernetes:Readiness": readiness,
  "rayserve:kubernetes:Routed": routed,
  "rayserve:cloud:Cluster": cloudCluster,
  "rayserve:cloud:Readiness": cloudReadiness,
  "rayserve:cloud:Routed": cloudRouted,
  "rayserve:aws:Reaper": reaper,
  "rayserve:gcp:Reaper": gcpReaper,
  "rayserve:serve:Applications": applicationsType(readShares, countWorkers),
};
