import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  fill,
  filledSize,
  isGoTemplate,
  PLACEHOLDERS,
  unknownPlaceholders,
  uses,
} from '../../src/credential/template.ts';

describe('a template', () => {
  it.each<[string, string]>([
    ['{{access_token}}', '<access_token>'],
    ['Authorization: Bearer {{access_token}}', 'Authorization: Bearer <access_token>'],
    ['{{ realm }} {{\trealm\n}}', '<realm> <realm>'],
    ['{{{realm}}}', '{<realm>}'],
    ['{"token":"{{access_token}}"}', '{"token":"<access_token>"}'],
    ['{{realm', '{{realm'],
    ['{realm}', '{realm}'],
    ['{{Realm}}', '{{Realm}}'],
    ['{{constructor}}{{__proto__}}', '{{constructor}}{{__proto__}}'],
    ['', ''],
    ['Bearer $(access_token)', 'Bearer <access_token>'],
    ['$$(access_token)', '$(access_token)'],
    ['$$$(access_token)', '$$(access_token)'],
    ['$(date) $(Realm) $( realm ) $realm $(realm', '$(date) $(Realm) $( realm ) $realm $(realm'],
    ['$$(date)', '$(date)'],
    ['$$ $', '$$ $'],
    ['$({{realm}})', '$(<realm>)'],
    ['{{$(realm)}}', '{{$(realm)}}'],
    ['$(constructor)', '$(constructor)'],
  ])('%j is filled as %j', (template, expected) => {
    expect(fill(template, (name) => `<${name}>`)).toBe(expected);
  });

  it('takes a value as it is, whatever it looks like', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom('$&', '$1', '{{realm}}')), (value) => {
        expect(fill('[{{access_token}}]', () => value)).toBe(`[${value}]`);
      }),
    );
  });

  it('has a size that is known before it is filled', () => {
    const part = fc.oneof(
      fc.constantFrom(
        ...PLACEHOLDERS.map((name) => `{{ ${name}\t}}`),
        ...PLACEHOLDERS.map((name) => `$(${name})`),
        '$$(access_token)',
        '$(x)',
        '{{x}}',
        '{{{realm}}}',
        '{{',
      ),
      fc.string({ unit: 'grapheme' }),
    );
    fc.assert(
      fc.property(fc.array(part), fc.string({ unit: 'grapheme' }), (parts, value) => {
        const template = parts.join('');
        const filled = fill(template, (name) => `${name}${value}`);
        const sizeOf = (name: string) => Buffer.byteLength(`${name}${value}`);
        expect(filledSize(template, sizeOf)).toBe(Buffer.byteLength(filled));
      }),
    );
  });

  it('without placeholders stays as it is', () => {
    const plain = fc.string().filter((text) => !text.includes('{{') && !text.includes('$('));
    fc.assert(
      fc.property(plain, (text) => {
        expect(fill(text, () => 'X')).toBe(text);
      }),
    );
  });

  it.each(PLACEHOLDERS)('may use %s', (name) => {
    expect(unknownPlaceholders(`{{${name}}}`)).toEqual([]);
    expect(uses(`a {{ ${name} }}`, name)).toBe(true);
    expect(uses(`a $(${name})`, name)).toBe(true);
    expect(uses(`a $$(${name})`, name)).toBe(false);
    expect(uses(name, name)).toBe(false);
  });

  it('leaves an unknown name in parentheses to a shell', () => {
    expect(unknownPlaceholders('$(date) $$(x) {{realm}}')).toEqual([]);
  });

  it.each<[string, boolean]>([
    ['.token', true],
    ['.Values.token', true],
    ['$x', true],
    ['token | b64enc', true],
    ['if', true],
    ['token', false],
    ['access-token', false],
    ['', false],
  ])('%j looks like a Go template: %j', (name, expected) => {
    expect(isGoTemplate(name)).toBe(expected);
  });

  it.each(['client_secret', 'refresh_token', 'username', 'password', '', 'toString', '__proto__'])(
    'may not use %j',
    (name) => {
      expect(unknownPlaceholders(`{{realm}} {{ ${name} }}`)).toEqual([name]);
    },
  );
});
