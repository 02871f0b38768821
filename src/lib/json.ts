/** Reading foreign JSON without trusting its shape. Only own members count, so `__proto__` and the like find nothing. */

type JsonObject = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is JsonObject =>
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
