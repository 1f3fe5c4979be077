import type { CheckFailure } from "../resource";

/** What is wrong with the weights of a load balancer's backends, in percent; empty while one is not known yet. */
export function checkWeights(backends: ReadonlyArray<{ weight?: number }> | undefined): CheckFailure[] {
  if (backends === undefined) return [];
  const failures: CheckFailure[] = [];
  for (const [index, { weight }] of backends.entries()) {
    if (weight === undefined || (Number.isInteger(weight) && weight >= 0 && weight <= 100)) continue;
    const reason = `${weight} must be a whole number of percent from 0 to 100`;
    failures.push({ property: `backends[${index}].weight`, reason });
  }
  const weights = backends.map(({ weight }) => weight);
  const sum = weights.reduce<number>((total, weight) => total + (weight ?? 0), 0);
  if (sum !== 100 && weights.every((weight) => weight !== undefined)) {
    const reason = `the weights sum to ${sum}, not to 100: change ${weights.join(" + ")}`;
    failures.push({ property: "backends", reason });
  }
  return failures;
}

/** Problems of durations by the names of their properties. */
export function checkSeconds(values: Record<string, number | undefined>): CheckFailure[] {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined && !(value >= 0))
    .map(([property, value]) => ({ property, reason: `must be seconds, 0 or more, got ${value}` }));
}
