import { format, inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { cleanText, holdsSecret, Sensitive, sanitize } from '../../src/lib/sensitive.ts';
import { anyCharacter } from '../support/arbitraries.ts';

/** What a secret may look like, including quotes, breaks, escapes and what is not even well-formed. */
const unit = fc.oneof(
  fc.constantFrom(
    '"',
    "'",
    '\\',
    '\n',
    '\r',
    '\t',
    '\u001b',
    '%',
    '+',
    '&',
    '=',
    ' ',
    '/',
    '$',
    '<',
  ),
  fc.constantFrom('ü', 'ß', '€', '漢', '😀', '\u200b', '\u2028'),
  fc.constantFrom('a', 'Z', '0', '-', '_', '.', '~', '*'),
);
const aSecret = fc
  .array(unit, { minLength: 4, maxLength: 40 })
  .map((units) => `CaNaRy${units.join('')}`);

const base64url = (text: string) => Buffer.from(text).toString('base64url');

const ENCODINGS: [string, (secret: string) => string][] = [
  ['as it is', (secret) => secret],
  ['trimmed', (secret) => secret.trim()],
  ['form-encoded', (secret) => new URLSearchParams({ client_secret: secret }).toString()],
  ['URL-encoded', (secret) => `?s=${encodeURIComponent(secret)}`],
  ['JSON-escaped', (secret) => JSON.stringify({ secret })],
  ['in base64', (secret) => Buffer.from(secret).toString('base64')],
  ['in base64url', (secret) => Buffer.from(secret).toString('base64url')],
];

describe('sanitized text', () => {
  it.each(ENCODINGS)('does not show a secret %s', (_, encode) => {
    fc.assert(
      fc.property(aSecret, fc.constantFrom('', ' ', 'x', '"'), (secret, glue) => {
        const text = `refused: ${glue}${encode(secret)}${glue} (sorry)`;
        const shown = sanitize(text, [new Sensitive(secret)]);
        expect(shown).not.toContain('CaNaRy');
        expect(shown).not.toContain(Buffer.from('CaNaRy').toString('base64'));
        expect(shown).toContain('[redacted]');
      }),
    );
  });

  it('does not show the rest of a secret that begins with another', () => {
    const secrets = ['shop', 'shop-CaNaRy'].map((secret) => new Sensitive(secret));

    expect(sanitize('shop-CaNaRy and shop', secrets)).toBe('[redacted] and [redacted]');
    expect(sanitize('shop-CaNaRy and shop', secrets.reverse())).toBe('[redacted] and [redacted]');
  });

  it('does not show what is shaped like a JWT, known or not', () => {
    const jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDYU5hUnkifQ.c2lnbmF0dXJl';
    expect(sanitize(`token ${jwt} is not good`, [])).toBe('token [redacted] is not good');
  });

  it.each([
    ['glued to a word', 'token_eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDYU5hUnkifQ.c2lnbmF0dXJl'],
    ['encrypted', 'eyJhbGciOiJkaXIifQ.aaaaaaaaaaaa.bbbbbbbb.cccccccc.dddddddd'],
    ['with a space in its header', `${base64url('{ "alg": "none" }')}.eyJzdWIiOiJDYU5hUnkifQ.`],
    ['with a line break in it', `${base64url('{\n"alg":"none"}')}.eyJzdWIiOiJDYU5hUnkifQ.`],
    ['with two of them', `${base64url('{\r\n"alg":"none"}')}.eyJzdWIiOiJDYU5hUnkifQ.`],
    ['with a tab in it', `${base64url('{\t"alg":"none" }')}.eyJzdWIiOiJDYU5hUnkifQ.`],
  ])('does not show a JWT %s', (_, jwt) => {
    expect(sanitize(`token ${jwt} is not good`, [])).toBe('token [redacted] is not good');
  });

  it.each([
    'No connection to auth.convercus.io. Is the realm "abc" there?',
    'No connection to keycloak.identity-provider.svc.cluster.local',
    'Others own .metadata.annotations.convercus.io/content-hash (kubectl-edit)',
  ])('keeps host names, field names and sentences: %s', (text) => {
    expect(sanitize(text, [])).toBe(text);
  });

  it('keeps no line break, escape sequence or invisible character', () => {
    expect(sanitize('a\r\nb\u001b[31mc\u200bd\u2028e\u0000f\n', [])).toBe('a b [31mc d e f');
  });

  it('is at most 200 characters long and never holds a control character', () => {
    fc.assert(
      fc.property(fc.string({ unit: anyCharacter, maxLength: 500 }), aSecret, (text, secret) => {
        const shown = sanitize(text + secret, [new Sensitive(secret)]);
        expect(shown.length).toBeLessThanOrEqual(200);
        expect(shown).not.toMatch(/\p{Cc}/u);
        expect(shown.isWellFormed()).toBe(true);
      }),
    );
  });

  it('takes no time worth mentioning, however long the text is', () => {
    const began = performance.now();
    sanitize('x'.repeat(64 * 1024), []);

    // A millisecond; minutes if it were the square of the length
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  it('is cut off with an ellipsis', () => {
    expect(sanitize('x'.repeat(200), [])).toBe('x'.repeat(200));
    expect(sanitize('x'.repeat(201), [])).toBe(`${'x'.repeat(199)}…`);
  });

  it('is never cut off within a character', () => {
    expect(sanitize('😀'.repeat(150), [])).toBe(`${'😀'.repeat(99)}…`);
  });

  it('is made of text and secrets that are not well-formed as well', () => {
    expect(sanitize('\ud800 CaNaRy\ud800', [new Sensitive('CaNaRy\ud800')])).not.toContain(
      'CaNaRy',
    );
  });

  it('is left as it is by an empty or blank secret', () => {
    expect(sanitize('all is well', [new Sensitive('')])).toBe('all is well');
    expect(sanitize('all is well', [new Sensitive('  ')])).toBe('all is well');
  });
});

describe('a text that holds a secret', () => {
  it.each(ENCODINGS)('is noticed when it holds it %s', (_, encode) => {
    fc.assert(
      fc.property(
        aSecret,
        fc.constantFrom('', ' ', 'x', '"'),
        fc.constantFrom<(text: string) => string>(
          (text) => text,
          (text) => text.toUpperCase(),
          (text) => text.toLowerCase(),
        ),
        (secret, glue, spell) => {
          // Some letters become two in capitals, which lower case does not take back
          fc.pre(!secret.includes('ß'));
          const text = spell(`refused: ${glue}${encode(secret)}${glue} (sorry)`);
          expect(holdsSecret(text, [new Sensitive('other'), new Sensitive(secret)])).toBe(true);
        },
      ),
    );
  });

  it.each([
    ['er', 'an error', false],
    ['er', 'er, error', true],
    ['ABC', 'realm abc', true],
    ['abc', 'abcd', false],
    ['a b', 'xa by', true],
    ['user', 'superuser', true],
    ['', 'all is well', false],
    ['  ', 'all is well', false],
  ])('is told by %j in %j: %p', (secret, text, expected) => {
    expect(holdsSecret(text, [new Sensitive(secret)])).toBe(expected);
  });
});

describe('clean text', () => {
  it('is as short as it is to be, and well-formed', () => {
    expect(cleanText(' a\u001b[1m\u2028b\n', 10)).toBe('a [1m b');
    expect(cleanText('abcdef', 4)).toBe('abc…');
    expect(cleanText('ab😀cd', 4)).toBe('ab…');
    expect(cleanText('\ud800', 4).isWellFormed()).toBe(true);
  });
});

describe('a sensitive text', () => {
  const secret = new Sensitive('CaNaRy');

  it('is given to who asks for it', () => {
    expect(secret.reveal()).toBe('CaNaRy');
  });

  it.each<[string, (value: unknown) => string]>([
    ['joined', (value) => [value, value].join()],
    ['added', (value) => '' + value],
    ['serialised', (value) => JSON.stringify({ deep: [value] })],
    ['inspected', (value) => inspect({ deep: { map: new Map([['key', value]]) } }, { depth: 9 })],
    ['inspected closely', (value) => inspect(value, { showHidden: true, customInspect: false })],
    ['formatted', (value) => format('%s %d %i %f %j %o %O', ...Array(7).fill(value), value)],
    ['copied', (value) => inspect(structuredClone(value))],
    ['spread', (value) => JSON.stringify(Object.assign({}, value))],
    ['thrown', (value) => inspect(new Error('no', { cause: value }))],
  ])('shows nothing when %s', (_, show) => {
    expect(show(secret)).not.toContain('CaNaRy');
  });

  it('says that there is something', () => {
    expect(String(secret)).toBe('[redacted]');
    expect(JSON.stringify(secret)).toBe('"[redacted]"');
    expect(inspect(secret)).toBe('[redacted]');
  });
});
