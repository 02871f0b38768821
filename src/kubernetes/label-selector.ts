/**
 * What is wrong with a label selector, in the grammar of Kubernetes (apimachinery, labels.Parse), or undefined. The API
 * server tells it only when it is asked, and then again and again.
 */
export function selectorProblem(text: string): string | undefined {
  const parser = new Parser(text);
  try {
    parser.parse();
    return undefined;
  } catch (error) {
    if (error instanceof SelectorError) return error.message;
    throw error;
  }
}

class SelectorError extends Error {}

/** Operators, brackets and commas; all else up to one of their characters or white space is a word. */
const TOKEN = /==|!=|[=!<>(),]|[^=!<>(), \t\r\n]+/g;
const SPECIAL = /^[=!<>(),]/;
const END = '';

/** By recursive descent. `in` and `notin` are operators behind a key alone, and words elsewhere. */
class Parser {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(TOKEN) ?? [];
  }

  parse(): void {
    if (this.#next === END) return;
    this.#requirement();
    while (this.#next !== END) {
      this.#take(',');
      this.#requirement();
    }
  }

  #requirement(): void {
    const isAbsence = this.#skip('!');
    checkKey(this.#word('a key'));
    if (isAbsence || this.#next === END || this.#next === ',') return;
    const operator = this.#any();
    if (operator === 'in' || operator === 'notin') return this.#values();
    if (!/^([=<>]|==|!=)$/.test(operator)) throw unexpected(operator, 'an operator');
    const value = isWord(this.#next) ? this.#any() : '';
    checkValue(value);
    if (/[<>]/.test(operator)) checkNumber(value);
  }

  /** In brackets; each may be empty, and so may the list. */
  #values(): void {
    this.#take('(');
    do {
      if (isWord(this.#next)) checkValue(this.#any());
    } while (this.#skip(','));
    this.#take(')');
  }

  get #next(): string {
    return this.#tokens[this.#at] ?? END;
  }

  #any(): string {
    const token = this.#next;
    this.#at += 1;
    return token;
  }

  #word(what: string): string {
    if (!isWord(this.#next)) throw unexpected(this.#next, what);
    return this.#any();
  }

  #take(token: string): void {
    if (!this.#skip(token)) throw unexpected(this.#next, token);
  }

  #skip(token: string): boolean {
    if (this.#next !== token) return false;
    this.#at += 1;
    return true;
  }
}

const isWord = (token: string): boolean => token !== END && !SPECIAL.test(token);

const unexpected = (found: string, expected: string): SelectorError =>
  new SelectorError(
    `${expected} is expected ${found === END ? 'at the end' : `before "${found}"`}`,
  );

const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/** What Kubernetes asks of most names of objects, and of the prefix of a label's key (RFC 1123). */
export const DNS_SUBDOMAIN =
  /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function checkKey(key: string): void {
  const [name = '', prefix, ...more] = key.split('/').reverse();
  const isPrefix = prefix === undefined || DNS_SUBDOMAIN.test(prefix);
  if (more.length > 0 || !isPrefix || !NAME.test(name)) {
    throw new SelectorError(`"${key}" is no key of a label`);
  }
}

function checkValue(value: string): void {
  if (value !== '' && !NAME.test(value)) {
    throw new SelectorError(`"${value}" is no value of a label`);
  }
}

const LARGEST = 2n ** 63n - 1n;

function checkNumber(value: string): void {
  if (!/^\d+$/.test(value) || BigInt(value) > LARGEST) {
    throw new SelectorError(`"${value}" is no whole number to compare with`);
  }
}
