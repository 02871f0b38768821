import { describe, expect, it } from '@jest/globals';
import { cliErrorFrom, type Wanted } from '../../src/cli/api-sentences.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { CREDENTIALS, SECRETS } from '../../src/kubernetes/resources.ts';
import { CANARY } from '../support/builders.ts';

const CREATE: Wanted = { verb: 'create', resource: CREDENTIALS, namespace: 'shop' };
const CREATE_SECRET: Wanted = { verb: 'create', resource: SECRETS, namespace: 'shop' };

const refused = (code: number, reason: string, message: string, wanted: Wanted): string =>
  cliErrorFrom(new ApiError(code, { reason, message }), wanted, 'https://api').message;

const NO_NAMESPACE =
  'There is no namespace "shop"; see those that are there: kubectl get namespaces';
const QUOTA = `${CANARY} is forbidden: exceeded quota: objects, requested: count=1, used: count=9, limited: count=9`;
const LEAVING = `${CANARY} is forbidden: unable to create new content in namespace shop because it is being terminated`;

describe('a refusal of the API server, in a sentence', () => {
  it.each([CREATE, CREATE_SECRET])('names the namespace that is not there', (wanted) => {
    const text = refused(404, 'NotFound', 'namespaces "shop" not found', wanted);
    expect(text).toBe(NO_NAMESPACE);
  });

  it('names the right that is missing', () => {
    const message =
      'convercuscredentials.convercus.io is forbidden: User "viewer" cannot create resource "convercuscredentials" in API group "convercus.io" in the namespace "shop"';
    expect(refused(403, 'Forbidden', message, CREATE)).toMatch(
      /^You may not create convercuscredentials\.convercus\.io in namespace "shop"; ask an administrator/,
    );
    expect(refused(403, 'Forbidden', '', CREATE)).toMatch(/^You may not create /);
  });

  it.each([QUOTA, LEAVING])('quotes why else a creation is forbidden: %s', (message) => {
    expect(refused(403, 'Forbidden', message, CREATE)).toBe(
      `The API server refuses to create convercuscredentials.convercus.io in namespace "shop" (403 Forbidden): ${message}`,
    );
  });

  it.each([QUOTA, LEAVING])('quotes nothing about a Secret: %s', (message) => {
    expect(refused(403, 'Forbidden', message, CREATE_SECRET)).toBe(
      'The API server refuses to create secrets in namespace "shop" (403 Forbidden)',
    );
  });
});
