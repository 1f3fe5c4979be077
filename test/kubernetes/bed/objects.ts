import type { KubernetesObject } from "./api";

/** A RayService of one version of the tests' service: one GPU a replica, one replica a worker. */
export function rayService(name: string, replicas: number, environment: Record<string, string> = {}): KubernetesObject {
  const container = (resources: Record<string, string | number>) => ({
    name: "ray",
    image: "rayproject/ray:2.52.1",
    resources: { requests: resources, limits: resources },
  });
  return {
    apiVersion: "ray.io/v1",
    kind: "RayService",
    metadata: { name },
    spec: {
      serveConfigV2: JSON.stringify({
        applications: [
          {
            name: "default",
            import_path: "versions:app",
            route_prefix: "/",
            runtime_env: { env_vars: { VERSION: name, ...environment } },
            deployments: [{ name: "Versions", num_replicas: replicas }],
          },
        ],
      }),
      upgradeStrategy: { type: "None" },
      rayClusterConfig: {
        rayVersion: "2.52.1",
        enableInTreeAutoscaling: true,
        autoscalerOptions: { idleTimeoutSeconds: 1 },
        headGroupSpec: {
          rayStartParams: { "num-cpus": "0" },
          template: { spec: { containers: [container({ cpu: 1, memory: "2Gi" })] } },
        },
        workerGroupSpecs: [
          {
            groupName: "gpu",
            replicas: 0,
            minReplicas: 0,
            maxReplicas: 8,
            rayStartParams: {},
            template: { spec: { containers: [container({ cpu: 1, memory: "2Gi", "nvidia.com/gpu": 1 })] } },
          },
        ],
      },
    },
  };
}

/** A route that gives the canary so many percent. */
export function httpRoute(name: string, primary: string, canary: string, percent: number): KubernetesObject {
  const backend = (service: string, weight: number) => ({ name: `${service}-serve-svc`, port: 8000, weight });
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name },
    spec: {
      parentRefs: [{ name: "gateway" }],
      rules: [{ backendRefs: [backend(primary, 100 - percent), backend(canary, percent)] }],
    },
  };
}
