import { CustomResource } from "@pulumi/kubernetes/apiextensions/customResource";
import { ConfigMap } from "@pulumi/kubernetes/core/v1/configMap";
import { Secret } from "@pulumi/kubernetes/core/v1/secret";
import { PodDisruptionBudget } from "@pulumi/kubernetes/policy/v1/podDisruptionBudget";
import * as pulumi from "@pulumi/pulumi";
import type { RayServiceDashboard } from "../../provider/serve/dashboard";
import type { HttpRouteAddress } from "../../provider/serve/guards";
import type { PlacedVersion } from "../record";
import type { ClusterAddress, ClusterComponent, TargetSettings } from "../target";
import { asksItself, ingressCode, ingressToken } from "./ingress";
import { rayServiceName } from "./names";
import { headBudget } from "./policies";
import { ports, rayService } from "./rayService";
import { Cluster, ClusterEnd } from "./resources";
import { type RouteArgs, tokenData } from "./route";

export interface KubernetesClusterArgs extends RouteArgs {
  times: TargetSettings;
  version: PlacedVersion;
  /** The service's, whether or not this version asks for it. */
  queryAuthToken: pulumi.Output<string>;
  route: HttpRouteAddress;
  /** Of all objects. */
  provider: pulumi.ProviderResource;
}

type RayServiceSpec = Partial<ReturnType<typeof rayService>["spec"]>;

/** Of a RayService. */
export type RayServiceClusterAddress = Extract<ClusterAddress, RayServiceDashboard>;

/** One version's Ray cluster: a RayService of KubeRay, whose applications are somebody else's. */
export class KubernetesCluster extends pulumi.ComponentResource implements ClusterComponent {
  readonly address: pulumi.Output<RayServiceClusterAddress>;

  constructor(name: string, args: KubernetesClusterArgs, options: pulumi.ComponentResourceOptions = {}) {
    super("rayshift:kubernetes:Cluster", name, {}, options);
    const { service, stack, settings, times, version, queryAuthToken, route, provider } = args;
    const { kubeconfig, context, namespace } = settings;
    const own = rayServiceName(service, version.cluster);
    const described = { name: own, stack, spec: version.spec, settings };
    const { metadata, ...manifest } = rayService({ ...described, idleTimeoutSeconds: times.idleTimeoutSeconds });
    // A version is immutable, and so is its cluster: settings of the stack, and newer code, are for the clusters to come.
    const lasting = { parent: this, provider, ignoreChanges: ["spec", "data"] };
    const address = {
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
      ...(context === undefined ? {} : { context }),
      namespace,
      rayService: own,
    };
    const mounted = asksItself(described)
      ? [
          new ConfigMap(`ingress-${version.cluster}`, ingressCode(described), lasting),
          new Secret(
            `ingress-token-${version.cluster}`,
            { ...ingressToken(described), data: queryAuthToken.apply(tokenData) },
            { parent: this, provider },
          ),
        ]
      : [];
    const end = new ClusterEnd(
      `end-${version.cluster}`,
      { kubernetes: address, timeoutSeconds: times.startupTimeoutSeconds },
      // A pod that cleans up after the others mounts what they do.
      { parent: this, dependsOn: mounted },
    );
    // KubeRay ends the cluster, with everything that it needs for that still there.
    const annotations = { "pulumi.com/deletionPropagationPolicy": "background" };
    const made = new CustomResource(
      `rayservice-${version.cluster}`,
      { ...manifest, metadata: { ...metadata, annotations } },
      { ...lasting, dependsOn: [end] },
    );
    const uid = made.metadata.apply((live) => live?.uid ?? "");
    const { metadata: ofBudget, ...budget } = headBudget(own, args);
    // It goes with its RayService, also where an engine was killed before the stack had it.
    const ownerReferences = [{ apiVersion: manifest.apiVersion, kind: manifest.kind, name: own, uid }];
    new PodDisruptionBudget(
      `head-budget-${version.cluster}`,
      { ...budget, metadata: { ...ofBudget, ownerReferences } },
      { parent: this, provider },
    );
    const cluster = new Cluster(
      name,
      {
        kubernetes: address,
        uid,
        route,
        version: version.cluster,
        timeoutSeconds: times.startupTimeoutSeconds,
        drainTimeoutSeconds: times.drainTimeoutSeconds,
      },
      { parent: this, dependsOn: [made] },
    );
    const serveAddress = `${own}-serve-svc.${namespace}.svc:${ports.serve}`;
    this.address = pulumi.all([cluster.kubernetes, stateIsKept(made)]).apply(([kubernetes, outlivesHead]) => ({
      kubernetes,
      serveAddress,
      ...(outlivesHead ? { outlivesHead } : {}),
    }));
    this.registerOutputs({ address: this.address });
  }
}

/** Whether the head's state is in a Redis, by what the cluster was made of: the stack's settings may be others by now. */
function stateIsKept(made: CustomResource): pulumi.Output<boolean> {
  const { spec } = made as CustomResource & { spec: pulumi.Output<RayServiceSpec | undefined> };
  return pulumi.unsecret(spec.apply((live) => live?.rayClusterConfig?.gcsFaultToleranceOptions !== undefined));
}
