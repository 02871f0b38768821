import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/**
 * A text that came from a Secret or a token endpoint.
 * Printed, joined, serialised or inspected it shows as `[redacted]`; only `reveal` returns the value.
 */
export class Sensitive {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/** Anchored at the start of a word: a try at each letter of a long word takes quadratic time, which is seconds. */
const TOKEN_SHAPED = /(?<![\w-])[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)+/g;
/** A JWT begins with an object in base64: `{"`, or white space after the brace. Names of hosts and fields do not. */
const JSON_HEADER = /^[^.]*(?:eyJ|eyA|ew[0ko])/;
const CONTROL_CHARACTERS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu;
const HALF_CHARACTER = /\p{Cs}$/u;
const MAX_LENGTH = 200;

/** At most `longest` characters without control and format characters, such as escape sequences and line breaks. */
export function cleanText(text: string, longest: number): string {
  const shown = text.toWellFormed().replace(CONTROL_CHARACTERS, ' ').trim();
  if (shown.length <= longest) return shown;
  return `${shown.slice(0, longest - 1).replace(HALF_CHARACTER, '')}…`;
}

/**
 * Makes foreign text fit to be shown: known secrets (as they are, form-encoded and in base64) and anything
 * shaped like a JWT are replaced, control and format characters become spaces, and at most 200 characters stay.
 */
export function sanitize(text: string, secrets: readonly Sensitive[]): string {
  let shown = text.toWellFormed();
  const forms = secrets.flatMap((secret) => formsOf(secret.reveal().toWellFormed()));
  for (const form of forms.sort((a, b) => b.length - a.length)) {
    shown = shown.replaceAll(form, REDACTED);
  }
  shown = shown.replace(TOKEN_SHAPED, (text) => (JSON_HEADER.test(text) ? REDACTED : text));
  return cleanText(shown, MAX_LENGTH);
}

/**
 * Whether a text holds one of the secrets, in any of the forms that `sanitize` replaces, in upper or lower case. Of such
 * a text nothing should be shown: with the secret replaced it still tells which of its words the secret is. A form of
 * up to three letters counts where it is a word: within longer words it stands by chance.
 */
export function holdsSecret(text: string, secrets: readonly Sensitive[]): boolean {
  const searched = text.toWellFormed().toLowerCase();
  const values = new Set(secrets.map((secret) => secret.reveal().toWellFormed()));
  const forms = [...new Set([...values].flatMap(formsOf).map((form) => form.toLowerCase()))];
  if (forms.some((form) => !SHORT_WORD.test(form) && searched.includes(form))) return true;
  const short = forms.filter((form) => SHORT_WORD.test(form));
  if (short.length === 0) return false;
  const words = new Set(searched.split(/[^\p{L}\p{N}]+/u));
  return short.some((form) => words.has(form));
}

const SHORT_WORD = /^[\p{L}\p{N}]{1,3}$/u;

function formsOf(value: string): string[] {
  const encoded = [
    value,
    value.trim(),
    encodeURIComponent(value),
    new URLSearchParams({ v: value }).toString().slice(2),
    JSON.stringify(value).slice(1, -1),
    Buffer.from(value).toString('base64'),
    Buffer.from(value).toString('base64url'),
  ];
  return encoded.filter((form) => form.length > 0);
}
