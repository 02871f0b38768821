import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type FaultEffect, proxies } from '../../dev/keycloak/dialect/faults.ts';
import {
  type IdentityProvider,
  startIdentityProvider,
} from '../../dev/keycloak/dialect/identity-provider.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { minutes } from '../../src/lib/time.ts';
import { aRequest, aSource, freeEverything, later } from './lab.ts';

afterEach(freeEverything);

describe('against a server that speaks the dialect of Keycloak', () => {
  let server: IdentityProvider;

  beforeEach(async () => {
    server = await startIdentityProvider();
    later(() => server.close());
    const client = {
      clientId: 'machine-2-machine',
      secret: 'correct horse',
      serviceAccountsEnabled: true,
    };
    server.realms.add({ realm: 'abc-staging', accessTokenLifespan: 1800, clients: [client] });
  });

  const obtain = (changes: Parameters<typeof aRequest>[1] = {}) =>
    aSource().obtain(aRequest(server.tokenUrl(changes.realm ?? 'abc-staging'), changes));

  it('a token of half an hour comes back', async () => {
    const token = await obtain();
    if (isFailure(token)) throw new Error(token.message);
    expect(token.expiresAt - token.issuedAt).toBe(minutes(30));
    expect(token.scope.split(' ')).toContain('openid');
  });

  it.each([
    [{ realm: 'ABC-staging' }, 'RealmNotFound'],
    [{ clientId: 'unknown' }, 'ClientUnknownOrDisabled'],
    [{ scope: 'openid nonsense' }, 'InvalidScope'],
  ])('%j is refused as %s', async (changes, kind) => {
    expect(await obtain(changes)).toMatchObject({ kind });
  });

  it.each<[string, FaultEffect, string]>([
    ['a bad gateway', proxies.badGateway, 'ServerUnavailable'],
    ['a firewall', proxies.forbidden, 'AccessBlocked'],
    ['a throttle', proxies.tooManyRequests('5'), 'RateLimited'],
    ['a redirect', proxies.redirect('https://elsewhere.test/'), 'UnexpectedRedirect'],
    ['a body that is cut', { kind: 'cut-body' }, 'ServerUnavailable'],
    ['an empty body', { kind: 'empty-body' }, 'UnexpectedResponse'],
    ['a huge body', { kind: 'huge-body' }, 'UnexpectedResponse'],
    ['a form instead of JSON', { kind: 'not-json' }, 'UnexpectedResponse'],
    [
      'another content type',
      { kind: 'content-type', contentType: 'text/plain' },
      'UnexpectedResponse',
    ],
    ['no access_token', { kind: 'fields', remove: ['access_token'] }, 'UnexpectedResponse'],
    ['a token for DPoP', { kind: 'fields', set: { token_type: 'DPoP' } }, 'UnexpectedResponse'],
    ['resets', { kind: 'reset' }, 'NetworkError'],
    ['echoed secrets', { kind: 'echo-secrets' }, 'ClientSecretRejected'],
  ])('%s comes out as a failure that shows no secret', async (_, fault, kind) => {
    server.faults.add(fault);
    const failure = await obtain();
    expect(failure).toMatchObject({ kind });
    expect(JSON.stringify(failure)).not.toContain('correct horse');
  });

  it.each<[string, FaultEffect]>([
    ['no expires_in', { kind: 'fields', remove: ['expires_in'] }],
    ['expires_in 0', { kind: 'fields', set: { expires_in: 0 } }],
    ['an absurd expires_in', { kind: 'fields', set: { expires_in: 1e12 } }],
    ['a clock that is hours off', { kind: 'clock-skew', seconds: 7_200 }],
    ['keys that aim at prototypes', { kind: 'proto-keys' }],
  ])('%s does no harm to a token', async (_, fault) => {
    server.faults.add(fault);
    const token = await obtain();
    if (isFailure(token)) throw new Error(token.message);
    expect(token.expiresAt - token.issuedAt).toBe(minutes(30));
    expect({}).not.toHaveProperty('polluted');
  });
});
