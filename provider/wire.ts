/** Values as the engine sends them: secrets and unknowns are marked by signatures that no ordinary value has. */

const signatureKey = "4dabf18193072939515e22adb298388d";
const secretSignature = "1b47061264138c4ac30d75fd1eb44270";
const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

type Wire = unknown;

function isObject(value: Wire): value is Record<string, Wire> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The plain value of a wire value: secrets unwrapped at any depth, unknowns and nulls left out. */
export function unwrap(value: Wire): Wire {
  if (value === unknownValue || value === null) return undefined;
  if (Array.isArray(value)) return value.map(unwrap);
  if (!isObject(value)) return value;
  if (value[signatureKey] === secretSignature) return unwrap(value.value);
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, inner]) => [key, unwrap(inner)] as const)
      .filter(([, inner]) => inner !== undefined),
  );
}

/** Whether a value that the preview does not know yet is anywhere inside. */
export function hasUnknowns(value: Wire): boolean {
  if (value === unknownValue) return true;
  if (Array.isArray(value)) return value.some(hasUnknowns);
  return isObject(value) && Object.values(value).some(hasUnknowns);
}

/** Marks the named properties of a state as secrets for the engine to encrypt. */
export function wrapSecrets(state: object, secrets: readonly string[]): Record<string, Wire> {
  return Object.fromEntries(
    Object.entries(state)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, secrets.includes(key) ? { [signatureKey]: secretSignature, value } : value]),
  );
}
