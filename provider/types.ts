import { cluster } from "./local/cluster";
import { readWeights } from "./local/haproxyAdmin";
import { loadBalancerType } from "./local/loadBalancer";
import { localPackage } from "./local/package";
import { applicationsType } from "./serve/applications";
import { assertReadyFor } from "./serve/readiness";
import type { ResourceTypes } from "./server";
import { token } from "./token";

/** Every resource type that the provider offers, by its token. */
export const resourceTypes: ResourceTypes = {
  "rayserve:index:Token": token,
  "rayserve:local:Package": localPackage,
  "rayserve:local:Cluster": cluster,
  "rayserve:local:LoadBalancer": loadBalancerType(assertReadyFor),
  "rayserve:serve:Applications": applicationsType(readWeights),
};
