/**
 * Every secret value of a run holds a canary: a word that is found again wherever it turns up, also in base64, and that
 * says which namespace it belongs to.
 */

export class Canaries {
  readonly #word: string;
  readonly #forms: readonly RegExp[];

  constructor(seed: number) {
    // Only letters: the same in a form, in a URL and in JSON
    this.#word = `canary${letters(seed)}`;
    this.#forms = [new RegExp(this.#word), ...base64Forms(this.#word)];
  }

  /** @param namespace its number, up to 9 */
  of(namespace: number): string {
    return `${this.#word}${namespace}x`;
  }

  /** The canary in a value that was presented; empty when there is none. */
  in(value: string): string {
    return this.#pattern().exec(value)?.[0] ?? '';
  }

  /** Numbers of the namespaces whose canaries a text holds. */
  namespacesIn(text: string): number[] {
    return [...text.matchAll(new RegExp(this.#pattern(), 'g'))].map(([, number]) => Number(number));
  }

  /** Whether the text holds a canary, as it is or in base64. */
  isLeakedIn(text: string): boolean {
    return this.#forms.some((form) => form.test(text));
  }

  #pattern(): RegExp {
    return new RegExp(`${this.#word}(\\d)x`);
  }
}

const letters = (seed: number): string =>
  String(seed >>> 0)
    .padStart(10, '0')
    .replace(/\d/g, (digit) => String.fromCharCode(97 + Number(digit)));

/** The middle of its base64 for each of the three places where it can begin within three bytes. */
const base64Forms = (word: string): RegExp[] =>
  [0, 1, 2].map((before) => {
    const encoded = Buffer.from('\0'.repeat(before) + word).toString('base64');
    return new RegExp(encoded.slice(4, -4));
  });
