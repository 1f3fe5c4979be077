import { type Problem, ProblemList } from "../components/problems";
import type { Version } from "../components/record";
import { parseRolloutFlags, parseStackConfig, type RolloutSettings, type StackConfig } from "../components/stackConfig";
import { describeVersion } from "../components/version";
import type { Session } from "./session";
import { readServiceFile, type ServiceSource, sourceOf } from "./source";

/** Which service, and how it is to be rolled out. */
export interface WantedOptions {
  /** A service YAML; or {@link service}; or neither, for the service in the stack's config. */
  file?: string | undefined;
  /** A service as a value, in the format of the YAML; a relative `working_dir` starts at the project's folder. */
  service?: Record<string, unknown> | undefined;
  /** Whole percent, 0 to 100: hold there until the next command; 100 completes. */
  canaryPercent?: number | string | undefined;
  /** Whole percent, 1 to 100: how far both clusters' capacity together may exceed 100. */
  maxSurgePercent?: number | string | undefined;
  /** Changes the primary's applications instead of rolling out. */
  inPlace?: boolean | undefined;
}

/** What a command is to make of the service, checked by all the rules of the config. */
export interface Wanted {
  source: ServiceSource;
  version: Version;
  /** The stack's config as it would be with this service and these flags. */
  config: StackConfig;
}

/** Reads and checks what is wanted; throws one InvalidInput with all problems before anything changes. */
export async function readWanted(session: Session, options: WantedOptions): Promise<Wanted> {
  const { project, config } = session;
  const problems = new ProblemList();
  const flags = problems.of(() =>
    parseRolloutFlags({
      canaryPercent: text(options.canaryPercent),
      maxSurgePercent: text(options.maxSurgePercent),
      inPlace: options.inPlace,
    }),
  );
  const current = problems.of(() => config.read());
  const own = options.file === undefined && options.service === undefined;
  // A config without a service, or that cannot be read, has its own words for that.
  const given = !own || current?.service !== undefined;
  const source = given ? problems.of(() => sourceFrom(session, options, current?.service)) : undefined;
  const told = ({ path }: Problem) => given && source === undefined && path === "rayshift:service";
  const stackConfig = current && problems.of(() => parseStackConfig(asWanted(current, flags, source, own)), told);
  const version = source && (await problems.later(describeVersion(source.spec, project.folder)));
  problems.throwAny();
  return { source: source!, version: version!, config: stackConfig! };
}

/** The stack's config as it would be; flags and a service with problems are left out, they are told already. */
function asWanted(
  current: Record<string, string>,
  flags: RolloutSettings | undefined,
  source: ServiceSource | undefined,
  own: boolean,
): Record<string, string | undefined> {
  return {
    ...current,
    waypoint: undefined,
    workingDirDigest: undefined,
    service: source && JSON.stringify(source.written),
    // A split that is held is left by a deploy that names none; a service without a file is wanted as the config says.
    canaryPercent: text(flags?.canaryPercent) ?? (own ? current.canaryPercent : undefined),
    maxSurgePercent: text(flags?.maxSurgePercent) ?? (flags?.inPlace === true ? undefined : current.maxSurgePercent),
    inPlace: text(flags?.inPlace),
  };
}

/** The config that a version is deployed with. Its folder's content is pinned: what changes there later is another version. */
export function configFor({ source, version }: Wanted): Record<string, unknown> {
  return {
    service: source.written,
    workingDirDigest: version.workingDirectory?.digest,
    waypoint: undefined,
    inPlace: undefined,
    rejected: undefined,
  };
}

function sourceFrom({ project }: Session, { file, service }: WantedOptions, configured = ""): ServiceSource {
  if (file !== undefined) return readServiceFile(file, project.folder);
  return sourceOf(service ?? parsed(configured), project.folder, project.folder);
}

/** A service in the config that is no mapping is for the rules of a service to refuse. */
function parsed(configured: string): unknown {
  try {
    return JSON.parse(configured);
  } catch {
    return configured;
  }
}

function text(value: number | string | boolean | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}
