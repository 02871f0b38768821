/** Readers of foreign JSON, whose shape is unknown. Only own members count, so `__proto__` finds nothing. */

export type JsonObject = Readonly<Record<string, unknown>>;

/** The value of a JSON text; undefined for any other text. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const objectOf = (value: unknown): JsonObject => (isObject(value) ? value : {});

export function member(value: unknown, ...path: readonly string[]): unknown {
  let found = value;
  for (const name of path) {
    found = isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined;
  }
  return found;
}

export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = member(value, ...path);
  return typeof found === 'string' ? found : undefined;
}

export function numberAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = member(value, ...path);
  return typeof found === 'number' ? found : undefined;
}

/** A finite number, also one that was sent as decimal text. */
export function decimalAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = member(value, ...path);
  const isDecimal = typeof found === 'string' && /^-?\d+(\.\d+)?$/.test(found);
  const decimal = isDecimal ? Number(found) : found;
  return typeof decimal === 'number' && Number.isFinite(decimal) ? decimal : undefined;
}

export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const found = member(value, ...path);
  return Array.isArray(found) ? found : [];
}

/** The members of an object whose values are text. */
export const textsAt = (value: unknown, ...path: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    Object.entries(objectOf(member(value, ...path))).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
