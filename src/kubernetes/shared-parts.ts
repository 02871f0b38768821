/** What does not repeat soon takes a place in vain: small enough to forget such parts at once. */
const CAPACITY = 1_000;

/** Longer texts hardly repeat. */
const LONGEST = 500;

/**
 * Equal texts become one string, and equal objects of texts and numbers one object. Thousands of credentials say the
 * same realm, times, reasons and messages, which would otherwise be the larger half of what is kept of each.
 */
export class SharedParts {
  readonly #texts = new Map<string, string>();
  readonly #objects = new Map<string, object>();

  text(text: string): string {
    return firstOf(this.#texts, text, text);
  }

  /**
   * An equal object made of shared parts, which nobody may change. It is the given one, which nobody else has yet,
   * with other parts, or the one before when nothing is new.
   * @param before what was known until now: parts that are not new are taken from it
   */
  object<T extends object>(object: T, before?: T): T {
    const parts = Object.entries(object);
    let isNew = before === undefined || Object.keys(before).length !== parts.length;
    for (const [name, part] of parts) {
      const known = partOf(before, name);
      const shared = this.#part(part, known);
      Reflect.set(object, name, shared);
      isNew ||= shared === undefined || shared !== known;
    }
    return isNew || before === undefined ? object : before;
  }

  #part(part: unknown, before: unknown): unknown {
    if (part === before) return before;
    if (typeof part === 'string') return this.text(part);
    if (!isObject(part)) return part;
    const isOfOneKind = isObject(before) && Array.isArray(before) === Array.isArray(part);
    const shared = this.object(part, isOfOneKind ? before : undefined);
    if (shared === before || Object.values(shared).some(isObject)) return shared;
    return firstOf(this.#objects, JSON.stringify(shared), shared);
  }
}

function firstOf<T>(known: Map<string, T>, text: string, part: T): T {
  if (text.length > LONGEST) return part;
  const first = known.get(text);
  if (first !== undefined) return first;
  if (known.size >= CAPACITY) known.clear();
  known.set(text, part);
  return part;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

const partOf = (object: object | undefined, name: string): unknown =>
  object !== undefined && Object.hasOwn(object, name) ? Reflect.get(object, name) : undefined;
