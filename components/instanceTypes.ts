import { didYouMean, InvalidInput, type Problem } from "./problems";

/** What a machine has. */
export interface InstanceType {
  /** vCPUs. */
  cpus: number;
  memoryGiB: number;
  gpus: number;
  /** Ray's name of the GPU's kind, as in `accelerator_type`. */
  acceleratorType?: string;
}

/** What Ray is told that a node has. */
export interface NodeResources {
  cpus: number;
  gpus: number;
  memoryGiB?: number;
  acceleratorType?: string;
  /** Custom resources; units are the user's own. */
  resources: Record<string, number>;
}

type Row = [size: string, cpus: number, memoryGiB: number, gpus?: number];

/** A family from its rows: `separator` is between the family's name and the size. */
function family(name: string, separator: string, rows: Row[], acceleratorType?: string): [string, InstanceType][] {
  return rows.map(([size, cpus, memoryGiB, gpus = 0]) => [
    `${name}${separator}${size}`,
    { cpus, memoryGiB, gpus, ...(acceleratorType === undefined ? {} : { acceleratorType }) },
  ]);
}

/** AWS sizes of a general family: `large` is 2 vCPUs, `<n>xlarge` 4n. */
function aws(name: string, memoryPerCpu: number, multiples: number[]): [string, InstanceType][] {
  const rows = multiples.map((n): Row => [n === 1 ? "xlarge" : `${n}xlarge`, 4 * n, 4 * n * memoryPerCpu]);
  return family(name, ".", [["large", 2, 2 * memoryPerCpu], ...rows]);
}

/** GCP sizes of a general family: the number is that of the vCPUs. */
function gcp(name: string, memoryPerCpu: number, cpus: number[]): [string, InstanceType][] {
  return family(
    name,
    "-",
    cpus.map((n): Row => [String(n), n, n * memoryPerCpu]),
  );
}

const oneGpuSizes: Row[] = [
  ["xlarge", 4, 16, 1],
  ["2xlarge", 8, 32, 1],
  ["4xlarge", 16, 64, 1],
  ["8xlarge", 32, 128, 1],
  ["16xlarge", 64, 256, 1],
];
const g5Sizes: Row[] = [...oneGpuSizes, ["12xlarge", 48, 192, 4], ["24xlarge", 96, 384, 4], ["48xlarge", 192, 768, 8]];

/**
 * Instance types by name. AWS: EC2's own answer to DescribeInstanceTypes, as moto 5.2.5 (PyPI, 2026-10-27) keeps it; p3, which that has
 * not, from https://aws.amazon.com/ec2/instance-types/. Google Cloud: https://cloud.google.com/compute/docs/machine-resource,
 * read in 2026. One that is missing here needs `resources` in the spec.
 */
export const instanceTypes: ReadonlyMap<string, InstanceType> = new Map([
  ...aws("m5", 4, [1, 2, 4, 8, 12, 16, 24]),
  ...aws("m6i", 4, [1, 2, 4, 8, 12, 16, 24, 32]),
  ...aws("m6a", 4, [1, 2, 4, 8, 12, 16, 24, 32, 48]),
  ...aws("m7i", 4, [1, 2, 4, 8, 12, 16, 24, 48]),
  ...aws("m7a", 4, [1, 2, 4, 8, 12, 16, 24, 32, 48]),
  ...aws("m8i", 4, [1, 2, 4, 8, 12, 16, 24, 32, 48, 96]),
  ...aws("c5", 2, [1, 2, 4, 9, 12, 18, 24]),
  ...aws("c6i", 2, [1, 2, 4, 8, 12, 16, 24, 32]),
  ...aws("c7i", 2, [1, 2, 4, 8, 12, 16, 24, 48]),
  ...aws("r5", 8, [1, 2, 4, 8, 12, 16, 24]),
  ...aws("r6i", 8, [1, 2, 4, 8, 12, 16, 24, 32]),
  ...aws("r7i", 8, [1, 2, 4, 8, 12, 16, 24, 48]),
  ...family("t3", ".", [
    ["nano", 2, 0.5],
    ["micro", 2, 1],
    ["small", 2, 2],
    ["medium", 2, 4],
    ["large", 2, 8],
    ["xlarge", 4, 16],
    ["2xlarge", 8, 32],
  ]),
  ...family("g4dn", ".", [...oneGpuSizes, ["12xlarge", 48, 192, 4], ["metal", 96, 384, 8]], "T4"),
  ...family("g5", ".", g5Sizes, "A10G"),
  ...family("g6", ".", g5Sizes, "L4"),
  ...family(
    "gr6",
    ".",
    [
      ["4xlarge", 16, 128, 1],
      ["8xlarge", 32, 256, 1],
    ],
    "L4",
  ),
  ...family(
    "g6e",
    ".",
    g5Sizes.map(([size, cpus, memoryGiB, gpus = 0]): Row => [size, cpus, 2 * memoryGiB, gpus]),
    "L40S",
  ),
  ...family(
    "p3",
    ".",
    [
      ["2xlarge", 8, 61, 1],
      ["8xlarge", 32, 244, 4],
      ["16xlarge", 64, 488, 8],
    ],
    "V100",
  ),
  ...family("p4d", ".", [["24xlarge", 96, 1152, 8]], "A100"),
  ...family("p4de", ".", [["24xlarge", 96, 1152, 8]], "A100-80G"),
  ...family(
    "p5",
    ".",
    [
      ["4xlarge", 16, 256, 1],
      ["48xlarge", 192, 2048, 8],
    ],
    "H100",
  ),
  ...family("p5e", ".", [["48xlarge", 192, 2048, 8]], "H200"),
  ...family("p5en", ".", [["48xlarge", 192, 2048, 8]], "H200"),
  ...family("p6-b200", ".", [["48xlarge", 192, 2048, 8]], "B200"),
  ...gcp("n1-standard", 3.75, [1, 2, 4, 8, 16, 32, 64, 96]),
  ...gcp("n1-highmem", 6.5, [2, 4, 8, 16, 32, 64, 96]),
  ...gcp("n2-standard", 4, [2, 4, 8, 16, 32, 48, 64, 80, 96, 128]),
  ...gcp("n2d-standard", 4, [2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224]),
  ...gcp("n2-highmem", 8, [2, 4, 8, 16, 32, 48, 64, 80, 96]),
  ...gcp("n2-highcpu", 1, [2, 4, 8, 16, 32, 48, 64, 80, 96]),
  ...gcp("n4-standard", 4, [2, 4, 8, 16, 32, 48, 64, 80]),
  ...gcp("e2-standard", 4, [2, 4, 8, 16, 32]),
  ...gcp("e2-highmem", 8, [2, 4, 8, 16]),
  ...gcp("c3-standard", 4, [4, 8, 22, 44, 88, 176]),
  ...gcp("c3-highmem", 8, [4, 8, 22, 44, 88, 176]),
  ...family(
    "g2-standard",
    "-",
    [
      ["4", 4, 16, 1],
      ["8", 8, 32, 1],
      ["12", 12, 48, 1],
      ["16", 16, 64, 1],
      ["24", 24, 96, 2],
      ["32", 32, 128, 1],
      ["48", 48, 192, 4],
      ["96", 96, 384, 8],
    ],
    "L4",
  ),
  ...family(
    "a2-highgpu",
    "-",
    [1, 2, 4, 8].map((n): Row => [`${n}g`, 12 * n, 85 * n, n]),
    "A100",
  ),
  ...family("a2-megagpu", "-", [["16g", 96, 1360, 16]], "A100"),
  ...family(
    "a2-ultragpu",
    "-",
    [1, 2, 4, 8].map((n): Row => [`${n}g`, 12 * n, 170 * n, n]),
    "A100-80G",
  ),
  ...family(
    "a3-highgpu",
    "-",
    [1, 2, 4, 8].map((n): Row => [`${n}g`, 26 * n, 234 * n, n]),
    "H100",
  ),
  ...family("a3-megagpu", "-", [["8g", 208, 1872, 8]], "H100"),
  ...family("a3-ultragpu", "-", [["8g", 224, 2952, 8]], "H200"),
  ...family("a4-highgpu", "-", [["8g", 224, 3968, 8]], "B200"),
]);

interface Node {
  instance_type?: string | undefined;
  resources?: Record<string, number> | undefined;
}

const GIB = 2 ** 30;

/**
 * What Ray is to take a node for: what its instance type has, with each of the explicit `resources` (Ray's keys: CPU,
 * GPU, memory in bytes, custom ones) in place of it.
 * @throws InvalidInput when neither says how many CPUs there are
 */
export function resourcesOf(node: Node): NodeResources {
  const type = node.instance_type === undefined ? undefined : instanceTypes.get(node.instance_type);
  const { CPU, GPU, memory, ...custom } = node.resources ?? {};
  const cpus = CPU ?? type?.cpus;
  if (cpus === undefined) throw new InvalidInput([unknownNode(node)], "node");
  const gpus = GPU ?? type?.gpus ?? 0;
  const memoryGiB = memory === undefined ? type?.memoryGiB : memory / GIB;
  const acceleratorType = gpus > 0 ? type?.acceleratorType : undefined;
  return {
    cpus,
    gpus,
    ...(memoryGiB === undefined ? {} : { memoryGiB }),
    ...(acceleratorType === undefined ? {} : { acceleratorType }),
    resources: custom,
  };
}

function unknownNode({ instance_type, resources }: Node): Problem {
  if (instance_type === undefined) {
    const [path, rule] =
      resources === undefined ? ["", "has neither an `instance_type` nor `resources`"] : ["resources", "has no `CPU`"];
    return { path, rule, remedy: "give an `instance_type` like m5.2xlarge, or `resources` like {CPU: 8, GPU: 1}" };
  }
  return {
    path: "instance_type",
    value: instance_type,
    rule: "is not an instance type that rayshift knows the resources of",
    remedy: `${instanceTypeLike(instance_type)} Else add \`resources\` like {CPU: 8, GPU: 1} beside it`,
  };
}

function instanceTypeLike(name: string): string {
  const hint = didYouMean(name, [...instanceTypes.keys()]);
  return hint.startsWith("did") ? hint : "See that it is the cloud's own name.";
}
