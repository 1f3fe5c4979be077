import { z } from "zod";
import { type Problem, worded } from "../problems";
import type { ServiceSpec } from "../serviceSpec";
import { isLocalPath, text } from "../specParts";
import { amountOf } from "./quantities";

const label = worded(
  z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
    .max(63),
  "must be of lower-case letters, digits and hyphens, at most 63, with no hyphen at either end",
  "give its Kubernetes name",
);

const objectName = worded(
  z
    .string()
    .regex(/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/)
    .max(253),
  "must be of lower-case letters, digits, dots and hyphens, with a letter or digit at both ends",
  "give its Kubernetes name",
);

const toleration = z.strictObject({
  key: text.optional(),
  operator: z.enum(["Exists", "Equal"]).optional(),
  value: z.string().optional(),
  effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]).optional(),
  tolerationSeconds: z.int().optional(),
});

const quantity = (example: string) =>
  worded(
    z
      .union([z.string(), z.number()])
      .refine((value) => (amountOf(value) ?? 0) > 0)
      .transform(String),
    "must be an amount above 0, as Kubernetes writes it",
    `give for example ${example}`,
  );

const gateway = z.strictObject({
  name: label,
  /** Absent: that of the service. */
  namespace: label.optional(),
  /** Given: a Gateway of this class is made. Absent: there is one of this name. */
  className: objectName.optional(),
  /** Name of its listener; absent: any that takes the route. */
  listener: label.optional(),
  /** Of the Gateway that is made. */
  port: worded(z.int().min(1).max(65535), "must be a port from 1 to 65535", "give for example 80").default(80),
  /** The query token and the answer to a header without its version are Envoy Gateway's own objects. */
  implementation: z.enum(["envoy", "other"]).default("envoy"),
  /** Where the pods of the data plane are. */
  podsNamespace: label.default("envoy-gateway-system"),
});

/** What KubeRay's autoscaler asks for where nobody says it (1.5.1). */
export const autoscalerDefaults = { cpu: "500m", memory: "512Mi" };

/** `rayshift:kubernetes`: where the service runs, and what its pods need there. */
export const kubernetesSettings = z.strictObject({
  kubeconfig: worded(
    z.string().startsWith("/"),
    "must be the absolute path of a kubeconfig",
    "leave it out for the usual rules: KUBECONFIG, ~/.kube/config, the pod's own account",
  ).optional(),
  context: text.optional(),
  namespace: label.default("default"),
  gateway,
  /** Of the requests; absent: any. */
  hostname: worded(
    z
      .string()
      .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/)
      .max(253),
    "must be a host name in lower-case letters",
    "give for example models.example.com",
  ).optional(),
  /** For versions that name none. */
  image: text.optional(),
  imagePullPolicy: z.enum(["Always", "IfNotPresent", "Never"]).optional(),
  /** Secrets that exist in the namespace. */
  imagePullSecrets: z.array(objectName).optional(),
  serviceAccountName: objectName.optional(),
  /** Of the container beside each head in which KubeRay runs Ray's autoscaler; absent: KubeRay's own. */
  autoscalerResources: z
    .strictObject({
      cpu: quantity("200m").default(autoscalerDefaults.cpu),
      memory: quantity("512Mi").default(autoscalerDefaults.memory),
    })
    .optional(),
  /** For all pods. */
  nodeSelector: z.record(z.string(), z.string()).optional(),
  tolerations: z.array(toleration).optional(),
  /** Takes the state of Ray's head, so that the head can be made anew without its workers. */
  redis: z
    .strictObject({
      address: text,
      passwordSecret: z.strictObject({ name: objectName, key: text.default("password") }).optional(),
    })
    .optional(),
  /** Lets only the gateway's pods send requests to the service's pods. */
  networkPolicy: z.boolean().default(true),
});

export type KubernetesSettings = z.output<typeof kubernetesSettings>;

/** What of a service cannot be on Kubernetes; paths are below the service. */
export function kubernetesProblems(spec: ServiceSpec, settings: KubernetesSettings): Problem[] {
  const problems: Problem[] = [];
  if (spec.image_uri === undefined && settings.image === undefined) {
    const rule = "is missing: on the target kubernetes a version runs in an image";
    problems.push({ path: "image_uri", rule, remedy: "give it here, or `image` in `rayshift:kubernetes`" });
  }
  if (spec.working_dir !== undefined && isLocalPath(spec.working_dir)) {
    problems.push({
      path: "working_dir",
      value: spec.working_dir,
      rule: "is a folder of this machine, which no pod sees",
      remedy: "put the code into the image, or give a URI such as s3://bucket/code.zip",
    });
  }
  return problems;
}
