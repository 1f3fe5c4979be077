import { Random } from "../chaos/random";

/** What happens in the middle of a command, at its n-th instant: before and after every effect there is one. */
export interface Fault {
  at: number;
  what: FaultKind;
}

export const kills = ["kill driver", "kill engine", "kill both", "kill provider", "interrupt"] as const;
export const harms = [
  "break canary",
  "break primary",
  "canary's head dies",
  "canary is deleted",
  "primary's head dies",
  "weights by hand",
  "lies",
  "HAProxy dies",
] as const;
export type FaultKind = (typeof kills)[number] | (typeof harms)[number];

export type Command =
  | { do: "deploy"; version: string; canaryPercent?: number; maxSurgePercent?: number; retry?: true }
  | { do: "rollback"; maxSurgePercent?: number }
  | { do: "up" | "status" | "terminate" };

export interface Step {
  command: Command;
  faults: Fault[];
  /** ms until the next command, in which what was left alone goes on. */
  pause: number;
}

export interface Version {
  name: string;
  replicas: number;
  fails: boolean;
}

/** Commands of people, with what goes wrong at the worst of times. */
export interface Schedule {
  seed: number;
  versions: Version[];
  steps: Step[];
  /** The version of the last command, after which everything has to be as it says. */
  last: string;
}

/** Which of the world's evils a schedule has; all of them when absent. */
export interface Mix {
  faults?: readonly FaultKind[];
  steps?: number;
}

export function scheduleOf(seed: number, { faults = [...kills, ...harms], steps: most = 10 }: Mix = {}): Schedule {
  const random = new Random(seed);
  const versions: Version[] = Array.from({ length: 5 }, (_, index) => ({
    name: `v${index + 1}`,
    replicas: random.pick([1, 3, 4, 7]),
    fails: index > 0 && random.chance(15),
  }));
  const names = versions.map(({ name }) => name);
  const surge = () =>
    random.chance(60) ? { maxSurgePercent: random.pick([1 + random.below(100), 10, 25, 30, 50, 100]) } : {};
  const percent = () => (random.chance(40) ? { canaryPercent: random.pick([0, 1, 10, 33, 50, 99, 100]) } : {});
  let recent = "v1";
  const command = (): Command => {
    const dice = 1 + random.below(100);
    if (dice <= 70) {
      recent = random.chance(45) ? recent : random.pick(names);
      return { do: "deploy", version: recent, ...percent(), ...surge(), ...(random.chance(30) ? { retry: true } : {}) };
    }
    if (dice <= 88) return { do: "rollback", ...(random.chance(50) ? surge() : {}) };
    if (dice <= 94) return { do: "up" };
    return dice <= 98 ? { do: "status" } : { do: "terminate" };
  };
  const fault = (): Fault => ({ at: 1 + random.below(random.pick([6, 20, 60, 120])), what: random.pick(faults) });
  const steps: Step[] = [{ command: { do: "deploy", version: "v1" }, faults: [], pause: 0 }];
  while (steps.length < most) {
    const count = faults.length === 0 ? 0 : random.pick([0, 0, 1, 1, 1, 2]);
    steps.push({
      command: command(),
      faults: Array.from({ length: count }, fault).sort((a, b) => a.at - b.at),
      pause: random.pick([0, 0, 100, 3000, 40_000]),
    });
  }
  versions.push({ name: "v9", replicas: random.pick([1, 3, 4, 7]), fails: false });
  const good = versions
    .slice(0, -1)
    .filter(({ fails }) => !fails)
    .map(({ name }) => name);
  return { seed, versions, steps, last: random.chance(50) ? random.pick(good) : "v9" };
}

export function describe({ command, faults, pause }: Step): string {
  const { do: verb, ...options } = command;
  const flags = Object.entries(options).map(([name, value]) => ` ${name}=${value}`);
  const evils = faults.map(({ at, what }) => `; ${what} at ${at}`);
  return `${verb}${flags.join("")}${evils.join("")}${pause > 0 ? `; then ${pause} ms` : ""}`;
}
