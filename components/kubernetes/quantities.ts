/** Amounts as Kubernetes writes them. */

const POWERS = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/** `500m`, `2Gi` or `1e3` as a number; undefined where it is none of them. */
export function amountOf(quantity: string | number): number | undefined {
  const [, number, unit = ""] = /^(\d+(?:\.\d*)?|\.\d+)([a-zA-Z]*|[eE][+-]?\d+)$/.exec(String(quantity)) ?? [];
  if (number === undefined) return undefined;
  if (/\d/.test(unit)) return Number(number + unit);
  if (BINARY.includes(unit)) return Number(number) * 1024 ** BINARY.indexOf(unit);
  return POWERS.includes(unit) ? Number(number) * 1000 ** (POWERS.indexOf(unit) - POWERS.indexOf("")) : undefined;
}
