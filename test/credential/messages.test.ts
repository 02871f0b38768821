import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { parseCredential } from '../../src/credential/credential.ts';
import {
  credentialsIn,
  credentialsSecretMissing,
} from '../../src/credential/credentials-secret.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { aCredential, aParsedCredential, SETTINGS } from '../support/builders.ts';
import { runs } from '../support/runs.ts';

/** What no schema would let through: messages do not rely on one. */
const anyText = fc.oneof(
  fc.string({ unit: anyCharacter, maxLength: 300 }),
  fc.constantFrom(
    '\u001b[31mred\u001b[0m',
    'line\nbreak\u2028\u2029',
    '\u202eright to left\u200b\ufeff',
    'x'.repeat(5_000),
    'staging',
    'x-token',
    '',
  ),
);

const META = { uid: 'source-uid', resourceVersion: '1' };

function isFitToShow(result: unknown): void {
  if (!isFailure(result)) return;
  expect(result.message).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  expect(result.message.length).toBeLessThanOrEqual(1_000);
}

describe('a message about a spec', () => {
  const template = fc.oneof(
    anyText,
    anyText.map((name) => `{{${name}}}`),
    anyText.map((name) => `{{ realm }}{{${name}}}`),
  );

  it('holds no control or format character and is at most 1,000 characters long', () => {
    const names = fc.record({
      name: anyText,
      environment: anyText,
      program: anyText,
      source: anyText,
      target: fc.option(anyText, { nil: undefined }),
      data: fc.dictionary(anyText, template),
    });
    fc.assert(
      fc.property(names, ({ name, environment, program, source, target, data }) => {
        const { keys } = aCredential().spec.credentialsSecretRef;
        const resource = aCredential({
          metadata: { name },
          spec: { environment, program, credentialsSecretRef: { name: source, keys } },
          target: { data, ...(target !== undefined && { name: target }) },
        });
        isFitToShow(parseCredential(resource, SETTINGS));
      }),
      { numRuns: runs(1_000) },
    );
  });

  it('keeps its advice after a placeholder of any length', () => {
    const data = { token: `{{${'x'.repeat(4_000)}}}` };
    const failure = parseCredential(aCredential({ target: { data } }), SETTINGS);
    expect(failure).toHaveProperty('message', expect.stringContaining('x…}}; known are: '));
  });
});

describe('a message about a credentials Secret', () => {
  it('holds no control or format character and is at most 1,000 characters long', () => {
    fc.assert(
      fc.property(anyText, anyText, fc.option(anyText), (name, key, value) => {
        const { source, ...rest } = aParsedCredential();
        const keys = { ...source.keys, clientSecret: key };
        const credential = { ...rest, source: { ...source, name, keys } };
        const data = new Map(value === null ? [] : [[key, new Sensitive(value)]]);
        const contents = { meta: META, type: '', labels: {}, annotations: {}, data };
        isFitToShow(credentialsIn(contents, credential));
        isFitToShow(credentialsSecretMissing(credential));
      }),
      { numRuns: runs(500) },
    );
  });
});
