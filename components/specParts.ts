import { z } from "zod";
import { isMapping, type Report, worded } from "./problems";

/** What the schemas of a service are made of. */

export const text = z.string().min(1);
export const count = worded(z.int().min(0), "must be a whole number, 0 or more", "give for example 1");
export const atLeastOne = worded(z.int().min(1), "must be a whole number, 1 or more", "give for example 1");
export const amount = worded(z.number().min(0), "must be a number, 0 or more", "give for example 1");

export const notHere = "cannot be set";

/** True for a folder or file of this machine, as opposed to a URI like s3://bucket/code.zip. */
export function isLocalPath(place: string): boolean {
  return !/^[a-z][a-z0-9+.-]*:\/\//i.test(place);
}

export function items(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.map((item) => (isMapping(item) ? item : {})) : [];
}

/** Reports the second and later items of a list that have the same value of a key. */
export function reportDuplicates(list: string, values: unknown[], key: string, report: Report): void {
  values.forEach((value, index) => {
    const first = values.indexOf(value);
    if (value === undefined || value === null || first === index) return;
    report(
      [list, index, key],
      `is the same as that of ${list}[${first}], ${JSON.stringify(value)}`,
      `give each of the ${list} a \`${key}\` of its own`,
    );
  });
}
