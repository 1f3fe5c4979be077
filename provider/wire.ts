/** Values as the engine sends them: secrets and unknowns are marked by signatures that no ordinary value has. */

const signatureKey = "4dabf18193072939515e22adb298388d";
const secretSignature = "1b47061264138c4ac30d75fd1eb44270";
const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

type Wire = unknown;

function isObject(value: Wire): value is Record<string, Wire> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The plain values of a bag of properties: secrets unwrapped at any depth, unknowns left out. A property that is null is
 * an absent one; below a property null is a value like others, for example a `route_prefix`.
 */
export function unwrap(bag: Wire): Wire {
  const plain = unwrapValue(bag);
  if (!isObject(plain)) return plain;
  return Object.fromEntries(Object.entries(plain).filter(([, value]) => value !== null));
}

function unwrapValue(value: Wire): Wire {
  if (value === unknownValue) return undefined;
  if (Array.isArray(value)) return value.map(unwrapValue);
  if (!isObject(value)) return value;
  // An exported stack has secrets as the text of their JSON.
  if (value[signatureKey] === secretSignature) {
    return unwrapValue(typeof value.plaintext === "string" ? JSON.parse(value.plaintext) : value.value);
  }
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, inner]) => [key, unwrapValue(inner)] as const)
      .filter(([, inner]) => inner !== undefined),
  );
}

/** Whether a secret is anywhere inside. */
function hasSecrets(value: Wire): boolean {
  if (Array.isArray(value)) return value.some(hasSecrets);
  return isObject(value) && (value[signatureKey] === secretSignature || Object.values(value).some(hasSecrets));
}

/** The properties of a bag that are, or hold, secrets. */
export function secretKeys(bag: Record<string, Wire>): string[] {
  return Object.keys(bag).filter((key) => hasSecrets(bag[key]));
}

/** Marks the named properties of a state as secrets for the engine to encrypt. */
export function wrapSecrets(state: object, secrets: readonly string[]): Record<string, Wire> {
  return Object.fromEntries(
    Object.entries(state)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, secrets.includes(key) ? { [signatureKey]: secretSignature, value } : value]),
  );
}
