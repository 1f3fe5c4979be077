import type { Effect } from "../../provider/effects";
import { TRAFFIC } from "../../provider/local/haproxyConfig";

/** What one version has been told: its capacity as sent to Ray ("-": no cluster), its weight as sent to HAProxy. */
interface Told {
  capacity: string;
  weight: string;
}

/**
 * The states that effects led a service through, by what Ray and HAProxy were told, one line each: the versions by name
 * with `target_capacity` and weight. What changes neither gives no line.
 *
 * @param primary the version that runs alone before
 * @param versionAt the version whose cluster has this directory
 */
export function pathOf(
  effects: readonly Effect[],
  primary: string,
  versionAt: (directory: string) => string | undefined,
): string[] {
  const told = new Map<string, Told>([[primary, { capacity: "null", weight: "100" }]]);
  const urls = new Map<string, string>();
  const path: string[] = [];
  // A cluster is spoken to for the first time when it has just been started; the primary's was before.
  let unknown = primary;
  const of = (version: string): Told => {
    const known = told.get(version) ?? { capacity: "-", weight: "-" };
    told.set(version, known);
    return known;
  };
  const take = ({ name, detail }: Effect): void => {
    const version = versionAt(detail) ?? "";
    if (name === "start a head") {
      unknown = version;
      of(version).capacity = "started";
    } else if (name === "end a cluster's processes") of(version).capacity = "-";
    else if (name === "PUT Serve config") {
      const [, url = "", capacity = ""] = /^(\S+), target_capacity (\S+)$/.exec(detail) ?? [];
      if (!urls.has(url)) {
        urls.set(url, unknown);
        unknown = primary;
      }
      of(urls.get(url) ?? "").capacity = capacity;
    } else if (name === "HAProxy command") {
      for (const [, server = "", weight = ""] of detail.matchAll(weights)) of(server).weight = weight;
      const [, removed] = ends.exec(detail) ?? [];
      if (removed !== undefined) of(removed).weight = "-";
    }
  };
  for (const effect of effects) {
    if (effect.when === "before") continue;
    take(effect);
    const state = [...told]
      .filter(([, { capacity, weight }]) => capacity !== "-" || weight !== "-")
      .map(([version, { capacity, weight }]) => `${version} ${capacity} ${weight}`)
      .join(", ");
    if (state !== path.at(-1)) path.push(state);
  }
  return path;
}

const weights = new RegExp(`set server ${TRAFFIC}/(\\S+) weight (\\d+)`, "g");
const ends = new RegExp(`^del server ${TRAFFIC}/(\\S+)$`);
