/** V8 keeps shorter texts once by itself. */
const SHORT = 10;

/** A text that does not repeat soon takes a place in vain: small enough to forget such ones at once. */
const CAPACITY = 1_000;

/**
 * Equal texts become one string. Thousands of credentials say the same realm, times, reasons and messages, which
 * would otherwise be the larger half of what is kept of each.
 */
export class SharedText {
  readonly #known = new Map<string, string>();

  /** Replaces the texts in an object that nobody else has yet, to any depth. Answers the object. */
  within<T extends object>(object: T): T {
    for (const [name, value] of Object.entries(object)) {
      if (typeof value === 'string') Reflect.set(object, name, this.#shared(value));
      else if (typeof value === 'object' && value !== null) this.within(value);
    }
    return object;
  }

  #shared(text: string): string {
    if (text.length <= SHORT) return text;
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if (this.#known.size >= CAPACITY) this.#known.clear();
    this.#known.set(text, text);
    return text;
  }
}
